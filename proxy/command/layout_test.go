package command

import (
	"bufio"
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// room is a package, by its path below the module's.
type room struct {
	place string
	below string // what it may import of this module, with spaces; "*" is all that stands lower
	sdk   bool   // it may import AWS's SDK
}

// layout is all packages. What stands lower imports nothing that stands higher.
var layout = []room{
	{".", "proxy/command", false},
	{"proxy/command", "*", false},
	{"completion", "proxy/aws proxy/cache proxy/driver proxy/machine proxy/regular proxy/safetext proxy/sshconfig", false},
	{"proxy/demo", "proxy/aws/awstest proxy/lastly ssmproto/ssmtest", false},

	// The library.
	{"proxy", "proxy/ask proxy/aws proxy/aws/awsapi proxy/driver proxy/machine proxy/safetext proxy/stream proxy/tunnel ssmproto", true},

	// AWS's plugin.
	{"proxy/plugin", "proxy/aws proxy/aws/awsapi proxy/forward proxy/listen proxy/machine proxy/quote proxy/safetext proxy/shell proxy/sshconfig proxy/stdio proxy/stream proxy/tunnel ssmproto", true},

	// What a user does, on any cloud.
	{"proxy/doctor", "proxy/driver proxy/machine proxy/openssh proxy/safetext proxy/stream proxy/table", false},
	{"proxy/forward", "proxy/driver proxy/listen proxy/machine proxy/safetext proxy/stream proxy/tunnel", false},
	{"proxy/list", "proxy/driver proxy/machine proxy/safetext proxy/stdio proxy/table", false},
	{"proxy/shell", "proxy/driver proxy/machine proxy/quote proxy/safetext proxy/stdio proxy/stream proxy/terminal", false},
	{"proxy/sshconfig", "proxy/driver proxy/machine proxy/private proxy/regular proxy/safetext", false},
	{"proxy/table", "proxy/safetext proxy/stdio", false},
	{"proxy/stdio", "proxy/ask proxy/driver proxy/keys proxy/machine proxy/private proxy/safetext proxy/stream ssmproto/rawio", false},

	// What commands stand on.
	{"proxy/machine", "proxy/ask proxy/cache proxy/driver proxy/safetext proxy/stream", false},
	{"proxy/terminal", "proxy/lastly", false},
	{"proxy/tunnel", "proxy/stream", false},

	// The driver for AWS.
	{"proxy/aws", "proxy/ask proxy/aws/awsapi proxy/aws/examine proxy/aws/inventory proxy/driver proxy/keys proxy/quote proxy/safetext proxy/stream ssmproto", true},
	{"proxy/aws/examine", "proxy/ask proxy/aws/awsapi proxy/aws/inventory proxy/driver proxy/quote proxy/safetext proxy/stream ssmproto", true},
	{"proxy/aws/awsapi", "proxy/ask proxy/driver proxy/lastly proxy/regular proxy/safetext ssmproto", true},
	{"proxy/aws/awstest", "ssmproto ssmproto/ssmtest", false},
	{"proxy/aws/inventory", "proxy/driver", true},

	// The seams: of the service, and of the stream.
	{"proxy/driver", "proxy/keys proxy/stream", false},
	{"proxy/stream", "", false},

	// What knows no cloud.
	{"proxy/cache", "proxy/private proxy/regular", false},
	{"proxy/keys", "proxy/lastly proxy/listen proxy/openssh proxy/private proxy/regular", false},
	{"proxy/ask", "proxy/lastly proxy/safetext", false},
	{"proxy/listen", "proxy/safetext", false},
	{"proxy/lastly", "", false},
	{"proxy/openssh", "", false},
	{"proxy/private", "", false},
	{"proxy/quote", "", false},
	{"proxy/regular", "", false},
	{"proxy/safetext", "", false},

	// The data channel.
	{"ssmproto/ssmtest", "ssmproto ssmproto/core ssmproto/ssmtest/agent ssmproto/ssmtest/wire", false},
	{"ssmproto/ssmtest/agent", "ssmproto/core ssmproto/ssmtest/wire", false},
	{"ssmproto/ssmtest/wire", "ssmproto/core", false},
	{"ssmproto", "ssmproto/clip ssmproto/core ssmproto/deadline ssmproto/link ssmproto/mux", false},
	{"ssmproto/core", "", false},
	{"ssmproto/link", "ssmproto/clip ssmproto/rawio", false},
	{"ssmproto/mux", "ssmproto/deadline", false},
	{"ssmproto/clip", "", false},
	{"ssmproto/deadline", "", false},
	{"ssmproto/rawio", "", false},
}

// TestLayout: each package imports what its place in the layout lets it, and has
// such a place.
func TestLayout(t *testing.T) {
	const module = "github.com/ssmpipe/ssmpipe"
	list := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, module+"/...")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	place := func(path string) (string, bool) {
		if path == module {
			return ".", true
		}
		return strings.CutPrefix(path, module+"/")
	}
	var seen []string
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		name, _ := place(fields[0])
		seen = append(seen, name)
		at := slices.IndexFunc(layout, func(r room) bool { return r.place == name })
		if at < 0 {
			t.Errorf("%s has no place in the layout", name)
			continue
		}
		for _, path := range fields[1:] {
			if strings.HasPrefix(path, "github.com/aws/") && !layout[at].sdk {
				t.Errorf("%s imports %s", name, path)
			}
			imported, ours := place(path)
			if !ours {
				continue
			}
			lower := slices.ContainsFunc(layout[at+1:], func(r room) bool { return r.place == imported })
			if below := layout[at].below; !lower || below != "*" && !slices.Contains(strings.Fields(below), imported) {
				t.Errorf("%s imports %s", name, imported)
			}
		}
	}
	for _, l := range layout {
		if !slices.Contains(seen, l.place) {
			t.Errorf("%s is in the layout, but not there", l.place)
		}
	}
}
