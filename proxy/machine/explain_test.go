package machine

import (
	"errors"
	"strings"
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// plainDriver has its own words for errors: their text.
type plainDriver struct{ driver.Driver }

func (plainDriver) Words() driver.Words { return driver.Words{Cloud: "cloud", Agent: "agent"} }

func (plainDriver) Explain(err error, _ *driver.Account) driver.Meaning {
	return driver.Meaning{Cause: safetext.Said(err.Error()), Next: "do that"}
}

// TestTextsAreCut: nothing from outside makes a line without end, or ends it with
// a full stop in its middle.
func TestTextsAreCut(t *testing.T) {
	long := strings.Repeat("ß", 100_000)
	o := &Options{Driver: plainDriver{}, Choice: Choice{Target: "web-1"}}
	for _, tt := range []struct {
		err  error
		want string // in it
	}{
		{errors.New(long), "ß…; do that"},
		{o.away(&driver.Machine{State: "stopped"}, errors.New("TargetNotConnected: i-1 is not connected.")), "is not connected: it is stopped; --start"},
	} {
		text := o.Explain(tt.err).Error()
		if n := len([]rune(text)); n > safetext.MaxSaid+50 || !strings.Contains(text, tt.want) {
			t.Errorf("%d characters: %.900q", n, text)
		}
	}
	if text := safetext.Printable(long); len([]rune(text)) > safetext.MaxLine+1 {
		t.Errorf("%d characters", len([]rune(text)))
	}
	var b strings.Builder
	safetext.NewLogger(&b, "\n", -8).Debug("closed", "output", long)
	if n := len([]rune(b.String())); n > safetext.MaxSaid+100 {
		t.Errorf("%d characters in the log", n)
	}
}
