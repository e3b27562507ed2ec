package completion

import (
	"testing"
	"time"
)

func TestTurnsComeOnceAMinute(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	now := time.Now()
	take := func(profile string, after time.Duration) bool {
		turn, err := openTurn(profile, "")
		if err != nil {
			t.Fatal(err)
		}
		defer turn.Close()
		return turn.take(now.Add(after))
	}
	for _, step := range []struct {
		profile string
		after   time.Duration
		want    bool
	}{
		{"", 0, true},
		{"", time.Second, false},
		{"other", time.Second, true},
		{"", 59 * time.Second, false},
		{"", 61 * time.Second, true},
		{"", 62 * time.Second, false},
		{"", -time.Hour, true}, // the clock has been set back
	} {
		if got := take(step.profile, step.after); got != step.want {
			t.Errorf("profile %q after %v: %v", step.profile, step.after, got)
		}
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "others") // have not had theirs
	if !take("", 0) {
		t.Error("new credentials have to wait")
	}
	turn, err := openTurn("", "")
	if err != nil {
		t.Fatal(err)
	}
	defer turn.Close()
	if other, err := openTurn("", ""); err == nil {
		other.Close()
		t.Error("two have the turn at once")
	}
}
