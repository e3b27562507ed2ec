package command

import (
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestEachCommandHasAPageThatTellsItsOptions(t *testing.T) {
	files, err := fs.Glob(pages, "*.txt")
	if err != nil {
		t.Fatal(err)
	}
	app := newApp()
	checkPage(t, app.Name, app.CustomAppHelpTemplate)
	files = slices.DeleteFunc(files, func(name string) bool { return name == "ssmpipe.txt" })
	for _, c := range app.Commands {
		if c.Hidden {
			continue
		}
		files = slices.DeleteFunc(files, func(name string) bool { return name == c.Name+".txt" })
		checkPage(t, "ssmpipe "+c.Name, c.CustomHelpTemplate)
		for _, o := range options(c.Flags) {
			if !strings.Contains(c.CustomHelpTemplate, "\n    "+o.name+" ") {
				t.Errorf("%s: the page does not tell of %s", c.Name, o.name)
			}
		}
		if !strings.Contains(app.CustomAppHelpTemplate, "\n    "+c.Name+" ") {
			t.Errorf("%s is not in the list of commands", c.Name)
		}
	}
	if len(files) > 0 {
		t.Errorf("pages of no command: %q", files)
	}
}

func checkPage(t *testing.T, name, page string) {
	t.Helper()
	if !strings.HasPrefix(page, "NAME\n    "+name+" - ") || !strings.Contains(page, "\nSYNOPSIS\n    "+name) {
		t.Errorf("%s: the page begins with\n%.200s", name, page)
	}
	if strings.Contains(page, "@OPTIONS@") || strings.Contains(page, "@COMMANDS@") {
		t.Errorf("%s: no list in the page", name)
	}
}

func TestOptionsAreListedWithTheirValues(t *testing.T) {
	got := itemList(options([]cli.Flag{
		&cli.StringFlag{Name: "region", Usage: "`REGION` of TARGET"},
		&cli.BoolFlag{Name: "v", Usage: "tell more"},
		&cli.GenericFlag{Name: "push-key", Usage: "a key, by `WAY`"},
		&cli.BoolFlag{Name: "a-name-as-long-as-its-column", Usage: "one two three four five six seven eight nine ten eleven"},
		&cli.BoolFlag{Name: "secret"},
	}), 30)
	want := `    --region REGION           REGION of TARGET
    -v                        tell more
    --push-key[=WAY]          a key, by WAY
    --a-name-as-long-as-its-column one two three four five six seven eight nine
                              ten eleven
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestWhatIsACommandLineOfThePlugin(t *testing.T) {
	for _, test := range []struct {
		args   string
		plugin bool
		rest   string
	}{
		{"/usr/bin/session-manager-plugin --version", true, "--version"},
		{"/usr/bin/session-manager-plugin", true, ""},
		{"Session-Manager-Plugin.EXE a b", true, "a b"},
		{"ssmpipe", false, ""},
		{"ssmpipe plugin", true, ""},
		{"ssmpipe plugin {} us-east-1 StartSession", true, "{} us-east-1 StartSession"},
		{"ssmpipe plugin --install", false, ""},
		{"ssmpipe plugin --force --install", false, ""},
		{"ssmpipe plugin -h", false, ""},
		{"ssmpipe proxy plugin", false, ""},
	} {
		plugin, rest := asPlugin(strings.Fields(test.args))
		if plugin != test.plugin || strings.Join(rest, " ") != test.rest {
			t.Errorf("%s: %v, %q", test.args, plugin, rest)
		}
	}
}
