package proxy_test

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(testMain(withExamples{m})) }

// withExamples runs the tests while what the examples connect to is there.
type withExamples struct{ *testing.M }

func (m withExamples) Run() int {
	stop := startExamples()
	defer stop()
	return m.M.Run()
}
