// Package quote writes words and commands so that a shell far away reads what was
// meant. It may use nothing else of this module. Begin with [Command].
package quote
