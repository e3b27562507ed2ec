package demo

import "os"

// endSignals are those that ask a program to end.
var endSignals = []os.Signal{os.Interrupt}

// isTyped says whether s is what a console sends for a key, to all its programs.
func isTyped(s os.Signal) bool { return s == os.Interrupt }

// terminate kills: Windows knows no gentler way to end another process.
func terminate(p *os.Process) error { return p.Kill() }

func waitStatus(state *os.ProcessState) int { return state.ExitCode() }
