//go:build race

package ssmproto

// Raced says that this test looks for races, which takes ten times as long.
const Raced = true
