//go:build !race

package core

// raced says that this test looks for races, which takes ten times as long.
const raced = false
