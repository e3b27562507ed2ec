package demo

import "os"

// endSignals are the signals that ask a program to end.
var endSignals = []os.Signal{os.Interrupt}

// isTyped reports whether a console sends s for a key, to all its programs.
func isTyped(s os.Signal) bool { return s == os.Interrupt }

// terminate kills p: Windows has no gentler way to end another process.
func terminate(p *os.Process) error { return p.Kill() }

func waitStatus(state *os.ProcessState) int { return state.ExitCode() }
