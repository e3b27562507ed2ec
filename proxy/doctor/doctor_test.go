package doctor

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
)

// TestSSMPipeIn: the program is found in what ssh prints, however it is quoted.
func TestSSMPipeIn(t *testing.T) {
	for _, tt := range []struct{ command, program string }{
		{"ssmpipe proxy i-1 22", "ssmpipe"},
		{"/usr/local/bin/ssmpipe proxy --profile prod i-1 22", "/usr/local/bin/ssmpipe"},
		{"exec '/opt/my tools/ssmpipe' proxy i-1 22", "/opt/my tools/ssmpipe"},
		{`"C:\Program Files\ssmpipe\ssmpipe.exe" proxy i-1 22`, `C:\Program Files\ssmpipe\ssmpipe.exe`},
		{"C:/tools/SSMPIPE.EXE proxy i-1 22", "C:/tools/SSMPIPE.EXE"},
		{`sh -c "aws ssm start-session --target i-1"`, ""},
		{"nc -X connect not-ssmpipe 22", ""},
		{"", ""},
		{"none", ""},
	} {
		if got := ssmpipeIn(tt.command); got != tt.program {
			t.Errorf("%s: %q, not %q", tt.command, got, tt.program)
		}
	}
	if got := words(` a  'b c'"d" '' e`); !slices.Equal(got, []string{"a", "b cd", "", "e"}) {
		t.Errorf("%q", got)
	}
}

// TestFindingPrinter: words where signs cannot be shown, and colour around
// nothing but the sign.
func TestFindingPrinter(t *testing.T) {
	f := Finding{Check: "clock", Status: StatusFailed, Detail: "9 min behind", Remedy: "set it",
		Allow: &driver.Statement{Effect: "Allow", Action: "a:B", Resource: []string{"arn:${x}"}}}
	for _, tt := range []struct {
		style Style
		want  string
	}{
		{Style{}, "FAILED  clock: 9 min behind\n"},
		{Style{Marks: true}, "✗ clock: 9 min behind\n"},
		{Style{Marks: true, Color: true}, "\x1b[31m✗\x1b[0m clock: 9 min behind\n"},
	} {
		var b bytes.Buffer
		Printer(&b, tt.style)(f)
		want := tt.want + "    set it\n" + `    {"Effect":"Allow","Action":"a:B","Resource":["arn:${x}"]}` + "\n"
		if b.String() != want {
			t.Errorf("%+v: %q", tt.style, b.String())
		}
	}
}

// TestRunBounds: a check that others need stops those, with its name, and no
// check is waited for beyond its limit or the caller's patience.
func TestRunBounds(t *testing.T) {
	d := &doctor{o: &Options{}, unfit: make(map[string]string)}
	failing := func(context.Context) Finding { return Finding{Status: StatusFailed, Detail: "a\x1b[2Jb"} }
	if f := d.run(context.Background(), driver.Check{Name: "first", Look: failing}); f.Detail != "a [2Jb" {
		t.Errorf("%+v", f)
	}
	d.run(context.Background(), driver.Check{Name: "second", Needs: []string{"first"}, Look: failing})
	f := d.run(context.Background(), driver.Check{Name: "third", Needs: []string{"second"}, Look: failing})
	if f.Status != StatusSkipped || f.Detail != `needs "first"` {
		t.Errorf("%+v", f)
	}
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer stop()
	d.run(ctx, driver.Check{Name: "waiting", Look: func(ctx context.Context) Finding {
		<-ctx.Done()
		return ok("")
	}})
}
