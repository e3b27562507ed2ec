// Package doctor checks, step by step, everything that a session needs, and
// reports what is wrong and how to fix it. A driver contributes the checks of its
// cloud.
//
// It may use driver, machine and the rooms that know no cloud. Begin with [Run],
// then see checks for the checks in their order.
package doctor
