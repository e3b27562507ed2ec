package list

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/mattn/go-runewidth"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/table"
)

// before is a time that is so long ago when it is looked at soon.
func before(d time.Duration) time.Time { return time.Now().Add(-d - d/100 - time.Second/2) }

func fewMachines() []driver.Machine {
	return []driver.Machine{
		{ID: "i-0123456789abcdef0", Name: "web-1", State: "running", Ping: "Online", Pinged: before(2 * time.Minute), Agent: "3.3.2299.0", Platform: "Amazon Linux 2023", PrivateIP: "10.0.3.7"},
		{ID: "i-0fedcba9876543210", Name: "web-2", State: "running", Ping: "ConnectionLost", Pinged: before(3 * time.Hour), Agent: "3.1.1", Platform: "Ubuntu 24.04", PrivateIP: "10.0.13.207"},
		{ID: "i-0aaaaaaaaaaaaaaaa", Name: "データベース・プライマリ", State: "stopped"},
		{ID: "i-0bbbbbbbbbbbbbbbb", Name: "the machine that makes the quarterly reports", State: "stopping", Ping: "Inactive", Pinged: before(70 * 24 * time.Hour), Platform: "Windows Server 2022 Datacenter"},
		{ID: "i-0cccccccccccccccc", State: "pending"},
	}
}

func machineTable(width int) (*table.Table, *bytes.Buffer) {
	var b bytes.Buffer
	return &table.Table{Screen: &table.Screen{Out: &b, Width: width}, Columns: machineColumns}, &b
}

func show(t *testing.T, tab *table.Table, list ...driver.Machine) {
	t.Helper()
	var rows []table.Row
	for i := range list {
		rows = append(rows, machineRow(&list[i]))
	}
	if err := tab.Print(rows); err != nil {
		t.Fatal(err)
	}
}

// TestTable: the whole of it in a pipe, and what there is room for in a
// terminal.
func TestTable(t *testing.T) {
	for width, want := range map[int]string{
		0: `
NAME                                          ID                   STATE     PING      LAST PING    AGENT       PLATFORM                        IP
web-1                                         i-0123456789abcdef0  running   online    2 min ago    3.3.2299.0  Amazon Linux 2023               10.0.3.7
web-2                                         i-0fedcba9876543210  running   lost      3 h ago      3.1.1       Ubuntu 24.04                    10.0.13.207
データベース・プライマリ                      i-0aaaaaaaaaaaaaaaa  stopped   -         -            -           -                               -
the machine that makes the quarterly reports  i-0bbbbbbbbbbbbbbbb  stopping  inactive  70 days ago  -           Windows Server 2022 Datacenter  -
-                                             i-0cccccccccccccccc  pending   -         -            -           -                               -
`,
		120: `
NAME                 ID                   STATE     PING      LAST PING    AGENT       PLATFORM              IP
web-1                i-0123456789abcdef0  running   online    2 min ago    3.3.2299.0  Amazon Linux 2023     10.0.3.7
web-2                i-0fedcba9876543210  running   lost      3 h ago      3.1.1       Ubuntu 24.04          10.0.13.207
データベース・プラ…  i-0aaaaaaaaaaaaaaaa  stopped   -         -            -           -                     -
the machine that m…  i-0bbbbbbbbbbbbbbbb  stopping  inactive  70 days ago  -           Windows Server 2022…  -
-                    i-0cccccccccccccccc  pending   -         -            -           -                     -
`,
		80: `
NAME           ID                   STATE     PING      LAST PING    IP
web-1          i-0123456789abcdef0  running   online    2 min ago    10.0.3.7
web-2          i-0fedcba9876543210  running   lost      3 h ago      10.0.13.207
データベース…  i-0aaaaaaaaaaaaaaaa  stopped   -         -            -
the machine …  i-0bbbbbbbbbbbbbbbb  stopping  inactive  70 days ago  -
-              i-0cccccccccccccccc  pending   -         -            -
`,
		40: `
NAME       ID                   PING
web-1      i-0123456789abcdef0  online
web-2      i-0fedcba9876543210  lost
データベ…  i-0aaaaaaaaaaaaaaaa  -
the mach…  i-0bbbbbbbbbbbbbbbb  inactive
-          i-0cccccccccccccccc  -
`,
	} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			tab, b := machineTable(width)
			tab.Hidden = regionTitle
			show(t, tab, fewMachines()...)
			if got := "\n" + b.String(); got != want {
				t.Errorf("got%swant%s", got, want)
			}
		})
	}
}

// TestTableFitsAnyTerminal that has room for an id and two letters.
func TestTableFitsAnyTerminal(t *testing.T) {
	for width := 35; width < 200; width++ {
		tab, b := machineTable(width)
		show(t, tab, fewMachines()...)
		for _, line := range strings.Split(b.String(), "\n") {
			if runewidth.StringWidth(line) > width {
				t.Errorf("%d columns for %d: %q", runewidth.StringWidth(line), width, line)
			}
		}
	}
}

// TestTableColours change nothing else, and end within their cell.
func TestTableColours(t *testing.T) {
	plainly, want := machineTable(100)
	show(t, plainly, fewMachines()...)
	tab, b := machineTable(100)
	tab.Screen.Colour = true
	show(t, tab, fewMachines()...)
	coloured := regexp.MustCompile("\x1b\\[[0-9]+m([^\x1b ]|[^\x1b ][^\x1b]*[^\x1b ])\x1b\\[0m")
	if got := coloured.ReplaceAllString(b.String(), "$1"); got != want.String() {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	for _, cell := range []string{"\x1b[1mNAME\x1b[0m ", "\x1b[32mrunning\x1b[0m ", "\x1b[32monline\x1b[0m ", "\x1b[31mlost\x1b[0m ", "\x1b[2mstopped\x1b[0m "} {
		if !strings.Contains(b.String(), cell) {
			t.Errorf("no %q in %q", cell, b)
		}
	}
}

// hostileNames are what somebody may put into a tag.
var hostileNames = []string{
	"\x1b[2J\x1b[31mred\x1b[0m",
	"\x1b]0;title\x07\x1b]8;;http://evil.example/\x1b\\link",
	"two\nlines\r\tand a tab",
	"\u009b31m, the one-byte kind",
	"right\u202eto\u2066left\u200f",
	"zero\u200bwidth\u2060\ufeff",
	"line\u2028paragraph\u2029",
	"\xff\xfe not UTF-8 \xc3",
	"\U000e0041 tag, \ue000 private, \U0010ffff none",
	"   ",
	`"quoted", \, <b>&amp;`,
	"e\u0301 👩‍💻 🇩🇪 한국",
	strings.Repeat("x", 256),
}

// TestHostileNamesInTables: nothing but printing characters, and a line for
// each.
func TestHostileNamesInTables(t *testing.T) {
	for _, width := range []int{0, 80} {
		tab, b := machineTable(width)
		for _, name := range hostileNames {
			show(t, tab, driver.Machine{ID: name, Name: name, Region: name, State: name, Ping: name, Agent: name, Platform: name, PrivateIP: name})
		}
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		if len(lines) != 1+len(hostileNames) {
			t.Errorf("%d lines", len(lines))
		}
		for _, line := range lines {
			if i := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
				t.Errorf("%q in %q", line[i:i+1], line)
			}
		}
	}
}

// TestHostileNamesInJSON: each line is the object that it was, and of printing
// characters.
func TestHostileNamesInJSON(t *testing.T) {
	for _, name := range hostileNames {
		tab, b := machineTable(80)
		tab.Screen.JSON = true
		m := driver.Machine{ID: "i-0", Name: name, Tags: map[string]string{name: name}, Pinged: before(time.Hour).UTC().Round(0)}
		show(t, tab, m)
		line := strings.TrimSuffix(b.String(), "\n")
		if i := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%q in %q", line[i:i+1], line)
		}
		var got driver.Machine
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		valid := strings.ToValidUTF8(name, "\ufffd")
		if name != valid { // each byte for itself is as good
			continue
		}
		if !reflect.DeepEqual(got, m) {
			t.Errorf("%q came back as %+v", line, got)
		}
	}
}

func TestPatterns(t *testing.T) {
	for _, tt := range []struct {
		pattern, text string
		want          bool
	}{
		{"web", "web-1", true},
		{"web", "Old-WEB-1", true},
		{"WEB", "web-1", true},
		{"web", "db-1", false},
		{"", "web-1", true},
		{"0abc", "i-0abcdef", true},
		{"web*", "web-1", true},
		{"web*", "old-web-1", false},
		{"*web*", "old-web-1", true},
		{"Web-?", "wEB-1", true},
		{"web-?", "web-12", false},
		{"web-[12]", "web-2", true},
		{"web-[12]", "web-3", false},
		{"prod*1", "prod/web/1", true},
		{"prod/*", "prod/web/1", true},
		{"[^/]*", "prod", true},
		{`what\?`, "what?", true},
		{"a.c", "abc", false},
		{"データ*", "データベース", true},
	} {
		p, err := parsePattern(tt.pattern)
		if err != nil {
			t.Errorf("%q: %v", tt.pattern, err)
		}
		if got := p.matches("other", tt.text); got != tt.want {
			t.Errorf("%q matches %q: %v", tt.pattern, tt.text, got)
		}
	}
	if _, err := parsePattern("web-[12"); !errors.Is(err, ErrPattern) {
		t.Errorf("an open bracket: %v", err)
	}
}

// TestOthersSessionsAreNotEnded, not even if the service lists them as one's
// own.
func TestOthersSessionsAreNotEnded(t *testing.T) {
	const you = "arn:aws:iam::123456789012:user/you"
	l := &sessionLister{o: &SessionsOptions{}}
	if err := l.terminate(context.Background(), &driver.Session{ID: "you-0", Owner: you, Foreign: true}); err == nil || !strings.Contains(err.Error(), you) {
		t.Error(err)
	}
}
