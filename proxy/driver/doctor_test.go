package driver_test

import (
	"strings"
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/doctor"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
)

func TestDoctor(t *testing.T) {
	for target, want := range map[string]map[string]driver.Status{
		"web": {"configuration": "ok", "target": "ok", "agent": "ok", "session": "ok", "port": "ok"},
		"db":  {"configuration": "ok", "target": "ok", "agent": "failed", "session": "skipped", "port": "skipped"},
		"x":   {"configuration": "ok", "target": "failed", "agent": "skipped", "session": "skipped", "port": "skipped"},
	} {
		o, _, _ := newMemory(t, target)
		got := make(map[string]driver.Status)
		_, err := doctor.Run(t.Context(), doctor.Options{Options: o}, func(f driver.Finding) {
			name, _, _ := strings.Cut(f.Check, " "+o.Port)
			got[name] = f.Status
			t.Log(target, f)
		})
		if err != nil {
			t.Error(err)
		}
		for check, status := range want {
			if got[check] != status {
				t.Errorf("%s: %s is %q, not %q", target, check, got[check], status)
			}
		}
	}
}
