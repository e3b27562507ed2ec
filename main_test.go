package main

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ssmpipe": main, "session-manager-plugin": main})
}

// TestScripts runs the command line as users do; see testdata/script.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
				env.Setenv(name, os.DevNull)
			}
			env.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			return nil
		},
		Condition: func(cond string) (bool, error) {
			// [tool:NAME] is [exec:NAME], but in CI a missing tool is a failure.
			name, _ := strings.CutPrefix(cond, "tool:")
			if runtime.GOOS == "windows" {
				return false, nil
			}
			if os.Getenv("CI") == "true" {
				return true, nil
			}
			_, err := exec.LookPath(name)
			return err == nil, nil
		},
	})
}
