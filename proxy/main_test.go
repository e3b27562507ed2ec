package proxy_test

import (
	"os"
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
)

func TestMain(m *testing.M) { os.Exit(rigtest.Main(withExamples{m})) }

// withExamples runs the tests while what the examples connect to is there.
type withExamples struct{ *testing.M }

func (m withExamples) Run() int {
	stop := startExamples()
	defer stop()
	return m.M.Run()
}
