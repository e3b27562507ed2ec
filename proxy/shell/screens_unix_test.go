//go:build unix

package shell_test

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
)

// A pane is a terminal that tmux emulates, which knows what its screen shows.
type pane struct {
	tmux, socket string
	env          []string
}

// onPane runs a command line on a pane of 100 columns and 30 lines.
func onPane(t *testing.T, name string, env []string, command string) *pane {
	t.Helper()
	p := &pane{tmux: rigtest.Need(t, "tmux"), socket: fmt.Sprintf("%s/%s", t.TempDir(), name), env: env}
	t.Cleanup(func() { p.run("kill-server") })
	if out, err := p.run("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", command, ";",
		"set", "-g", "escape-time", "0", ";", "set", "-g", "remain-on-exit", "on"); err != nil {
		t.Fatalf("tmux: %v\n%s", err, out)
	}
	return p
}

func (p *pane) run(args ...string) (string, error) {
	cmd := exec.Command(p.tmux, append([]string{"-S", p.socket}, args...)...)
	cmd.Env = append(p.env, "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// shows returns the screen with its colours, and where the cursor is.
func (p *pane) shows(t *testing.T) string {
	t.Helper()
	screen, err := p.run("capture-pane", "-p", "-e", ";", "display", "-p", "cursor #{cursor_x},#{cursor_y} #{?alternate_on,alternate,normal}")
	if err != nil {
		t.Fatal(screen)
	}
	return screen
}

func (p *pane) types(t *testing.T, keys ...string) {
	t.Helper()
	if out, err := p.run(append([]string{"send-keys"}, keys...)...); err != nil {
		t.Fatal(out)
	}
}

// changing is what is another each time that one looks.
var changing = regexp.MustCompile(`[0-9][0-9:.,]*|[a-z]*$`)

// TestScreens: programs that use all of the screen show there what they show on
// this machine, key by key.
func TestScreens(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, command string
		mask          bool
		steps         [][2]string // keys, and what the screen shows then
	}{
		{"vim", "vim -u NONE -i NONE -n text", false, [][2]string{
			{"", "line 1"}, {":set number laststatus=2 hlsearch\r", "line 28 with"}, {"/line 40\r", "line 40"}, {"ggihéllo wörld ", "héllo wörld "},
			{"\x1b", "héllo wörld"}, {":vsplit\r", "text"}, {"10jdd", "text"}, {":sort!\r", "line 99"}, {":q!\r", "text"}, {":q!\r", "$"}}},
		{"less", "less -S text", false, [][2]string{
			{"", "line 1"}, {" ", "line 40"}, {"/line 90\r", "line 90"}, {"G", "(END)"}, {"q", "$"}}},
		{"top", "top -p 1", true, [][2]string{
			{"", "COMMAND"}, {"h", "Help for Interactive Commands"}, {"\x1b", "COMMAND"}, {"q", "$"}}},
		{"tmux", "TMUX= tmux -S $PWD/$NAME -f conf new -s inner sh", false, [][2]string{
			{"", "inner"}, {"seq 100\r", "100"}, {"\x02%", "│%"}, {"echo ri''ght\r", "right"}, {"\x02\"", "├──"}, {"exit\r", "│"}, {"exit\r", "100"}, {"exit\r", "exited"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rigtest.Need(t, tt.name)
			r := rigtest.NewShells(t, awstest.Config{Config: rigtest.Fast})
			t.Cleanup(func() { // after the panes' end
				rigtest.WaitFor(t, "end of the session", func() bool { return r.ActiveSessions() == 0 })
			})
			var text strings.Builder
			for i := range 200 {
				fmt.Fprintf(&text, "line %d with some more text, ä ö ü € \t%s|\n", i+1, strings.Repeat("x", i%120))
			}
			rigtest.WriteFile(t, r.Path("text"), text.String())
			rigtest.WriteFile(t, r.Path("conf"), "set -g status-right ''\nset -g status-left '[inner] '\nset -g escape-time 0\nset -g automatic-rename off\nset -g default-command \"env 'PS1=% ' sh\"\n")
			here := exec.Command("sh") // as r.far would start it
			panes := []*pane{
				onPane(t, "here", append(r.FarEnv(), "NAME=inner1"), "cd && exec env TERM=xterm-256color 'PS1=$ ' "+here.Path),
				onPane(t, "there", r.Environ, rigtest.SSMPipe+" shell "+rigtest.Node1),
			}
			shows := func(p *pane) string {
				screen := p.shows(t)
				if tt.mask {
					var lines []string
					for line := range strings.Lines(screen) {
						lines = append(lines, strings.Join(strings.Fields(changing.ReplaceAllString(strings.TrimRight(line, "\n"), "#")), " "))
					}
					screen = strings.Join(lines, "\n")
				}
				return screen
			}
			for i, p := range panes {
				rigtest.WaitFor(t, "prompt at the "+p.socket, func() bool { return strings.HasPrefix(p.shows(t), "$") })
				p.types(t, "-l", fmt.Sprintf("NAME=inner%d; clear; %s\r", i+1, tt.command))
			}
			for _, step := range tt.steps {
				keys, want := step[0], step[1]
				for _, p := range panes {
					if keys != "" {
						p.types(t, "-l", keys)
					}
				}
				var screens [2]string
				end := time.Now().Add(20 * time.Second)
				for {
					for i, p := range panes {
						screens[i] = shows(p)
					}
					if screens[0] == screens[1] && strings.Contains(screens[0], want) {
						break
					}
					if time.Now().After(end) {
						t.Fatalf("after %q without %q: here\n%s\nthere\n%s", keys, want, screens[0], screens[1])
					}
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
}
