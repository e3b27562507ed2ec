package completion

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
)

// testApp is a command line with all that the real one has a way to say.
func testApp() *cli.App {
	cli.HelpFlag = &cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "print this page"}
	account := []cli.Flag{
		&cli.StringFlag{Name: "profile", Usage: "`NAME` of a profile"},
		&cli.StringFlag{Name: "region", Usage: "`REGION` of TARGET"},
		&cli.StringFlag{Name: "pick", Usage: "`WHICH` of several: newest, oldest or any"},
		&cli.BoolFlag{Name: "v", Usage: "tell what happens"},
		&cli.StringFlag{Name: "secret", Hidden: true},
	}
	return &cli.App{
		Name:  "ssmpipe",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "version"}},
		Commands: []*cli.Command{
			{Name: "proxy", Usage: "reach a port", Flags: append(account, &cli.StringFlag{Name: "via", Usage: "go through `TARGET`"}),
				CustomHelpTemplate: "SYNOPSIS\n    ssmpipe proxy [OPTION]... TARGET [PORT]\n    ssmpipe proxy [OPTION]... --via TARGET HOST [PORT]\n\nDESCRIPTION\n    ssmpipe proxy wrong\n"},
			{Name: "forward", Flags: append(account, &cli.StringSliceFlag{Name: "L", Usage: "forward `SPEC`"}, &cli.StringFlag{Name: "key", Usage: "`FILE` with the key"}),
				CustomHelpTemplate: "SYNOPSIS\n    ssmpipe forward [OPTION]... -L SPEC... TARGET\n\n"},
			{Name: "ls", Flags: append(account, &cli.StringFlag{Name: "regions", Usage: "list `REGIONS`, or all"}),
				CustomHelpTemplate: "SYNOPSIS\n    ssmpipe ls [OPTION]... [PATTERN]\n\n"},
			{Name: "sessions", CustomHelpTemplate: "SYNOPSIS\n    ssmpipe sessions [OPTION]... [TARGET | ID]...\n\n"},
			{Name: "doctor", CustomHelpTemplate: "SYNOPSIS\n    ssmpipe doctor [OPTION]...\n    ssmpipe doctor [OPTION]... TARGET [PORT]\n\n"},
			{Name: "completion", CustomHelpTemplate: "SYNOPSIS\n    ssmpipe completion bash|zsh|fish\n\n"},
			{Name: "demo", CustomHelpTemplate: "SYNOPSIS\n    ssmpipe demo\n    ssmpipe demo -- COMMAND [ARG]...\n\n"},
			{Name: "complete", Hidden: true},
		},
	}
}

var testMachines = []driver.Machine{
	{ID: "i-0aaa1", Name: "web-1", State: "running", Ping: "Online", PrivateIP: "10.0.0.1", PrivateDNS: "ip-10-0-0-1.ec2.internal",
		Tags: map[string]string{"Name": "web-1", "Team": "blue", groupTag: "web"}},
	{ID: "i-0aaa2", Name: "web-2", State: "running", Ping: "ConnectionLost", PrivateIP: "10.0.0.2", Tags: map[string]string{"Name": "web-2", "Team": "green"}},
	{ID: "i-0bbb1", Name: "twin", State: "running", Tags: map[string]string{"Name": "twin", "a=b": "never"}},
	{ID: "i-0bbb2", Name: "twin", State: "stopped"},
	{ID: "i-0ccc1", State: "running"},
	{ID: "mi-0ddd1", Name: "Büro", Ping: "Online"},
}

func testAsker() *asker {
	return &asker{
		app: testApp(),
		known: func(o machine.Options) ([]driver.Machine, time.Duration, bool) {
			switch {
			case o.Profile == "prod":
				return []driver.Machine{{ID: "i-0prod", Name: "in-prod"}}, 0, true
			case o.Region == "eu-west-1":
				return []driver.Machine{{ID: "i-0west", Name: "in-west"}}, 0, true
			case o.Profile+o.Region != "":
				return nil, 0, false
			}
			return testMachines, 0, true
		},
		fresh: func(string, string) {},
	}
}

// answers returns what a line may go on with; the line is split at spaces.
func answers(line string) (values []string, files bool) {
	words := strings.Split(line, " ")
	list, files := testAsker().complete(words)
	for _, c := range matching(list, words[len(words)-1], false) {
		values = append(values, c.value)
	}
	slices.Sort(values)
	return values, files
}

func TestWhatALineMayGoOnWith(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "credentials"))
	os.WriteFile(filepath.Join(dir, "config"), []byte("[default]\nregion=us-east-1\n[profile prod]\n  region = eu-west-1\nregion = eu-west-2 \ns3 =\n  region = no\n[sso-session corp]\nregion = us-east-2\n[prodded]\n[profile 'two words']\n# [profile gone]\n[profile\tevil\x1b[2J]\n"), 0o600)
	os.WriteFile(filepath.Join(dir, "credentials"), []byte("[prod]\naws_access_key_id = x\n[old]\n"), 0o600)
	tests := []struct {
		line  string
		want  string // separated by spaces; ... stands for more
		files bool
	}{
		{line: "ssmpipe ", want: "completion demo doctor forward ls proxy sessions"},
		{line: "/usr/bin/ssmpipe.exe pr", want: "proxy"},
		{line: "ssmpipe --", want: "--help --version"},
		{line: "ssmpipe complete ", want: ""},
		{line: "ssmpipe nonsense ", want: ""},
		{line: "ssmpipe proxy -", want: "--help --pick --profile --region --via -h -v"},
		{line: "ssmpipe proxy -v --re", want: "--region"},
		{line: "ssmpipe proxy -- -", want: ""},
		{line: "ssmpipe proxy web-1 -", want: ""}, // flags are over
		{line: "ssmpipe proxy --profile ", want: "default old prod two words"},
		{line: "ssmpipe proxy --profile=p", want: "--profile=prod"},
		{line: "ssmpipe proxy -profile p", want: "prod"},
		{line: "ssmpipe proxy --region eu-central-", want: "eu-central-1 eu-central-2"},
		{line: "ssmpipe proxy --region=il-", want: "--region=il-central-1"},
		{line: "ssmpipe proxy --pick ", want: "any newest oldest"},
		{line: "ssmpipe proxy --secret ", want: ""},
		{line: "ssmpipe proxy --v", want: "--via"},
		{line: "ssmpipe ls --regions eu-central-1,il", want: "eu-central-1,il-central-1"},
		{line: "ssmpipe ls --regions al", want: "all"},
		{line: "ssmpipe forward -L ", want: ""},
		{line: "ssmpipe forward --key ", files: true},
		{line: "ssmpipe completion ", want: "bash fish zsh"},
		{line: "ssmpipe completion bash ", want: ""},
		{line: "ssmpipe demo ", want: ""},
		{line: "ssmpipe demo -- ", files: true},
		{line: "ssmpipe demo -- ls ", files: true},

		{line: "ssmpipe proxy ", want: "Büro i-0bbb1 i-0bbb2 i-0ccc1 twin web-1 web-2"},
		{line: "ssmpipe forward -L 1:h:2 -v we", want: "web-1 web-2"},
		{line: "ssmpipe sessions web-1 twi", want: "twin"},
		{line: "ssmpipe doctor twi", want: "twin"},
		{line: "ssmpipe doctor twin 338", want: "3389"},
		{line: "ssmpipe ls w", want: "web-1 web-2"},
		{line: "ssmpipe proxy i-0a", want: "i-0aaa1 i-0aaa2"},
		{line: "ssmpipe proxy mi", want: "mi-0ddd1"},
		{line: "ssmpipe proxy EB-", want: "web-1 web-2"}, // nothing begins like that
		{line: "ssmpipe proxy 10.0.0.2", want: "10.0.0.2"},
		{line: "ssmpipe proxy ip-10", want: "ip-10-0-0-1.ec2.internal"},
		{line: "ssmpipe proxy ta", want: "tag:"},
		{line: "ssmpipe proxy tag:", want: "tag:Name= tag:Team= tag:aws:autoscaling:groupName="},
		{line: "ssmpipe proxy tag:Team=", want: "tag:Team=blue tag:Team=green"},
		{line: "ssmpipe proxy tag:Team=bl", want: "tag:Team=blue"},
		{line: "ssmpipe proxy tag:None=", want: ""},
		{line: "ssmpipe proxy a", want: "asg:"},
		{line: "ssmpipe proxy asg:", want: "asg:web"},
		{line: "ssmpipe proxy web-1--eu-central-", want: "web-1--eu-central-1 web-1--eu-central-2"},
		{line: "ssmpipe proxy tag:Team=blue--il", want: "tag:Team=blue--il-central-1"},
		{line: "ssmpipe proxy --profile prod ", want: "in-prod"},
		{line: "ssmpipe proxy --profile=prod ", want: "in-prod"},
		{line: "ssmpipe proxy -region eu-west-1 -v ", want: "in-west"},
		{line: "ssmpipe proxy --profile none i-", want: ""},
		{line: "ssmpipe proxy --via we", want: "web-1 web-2"},
		{line: "ssmpipe proxy web-1 54", want: "5432 5439"},
		{line: "ssmpipe proxy web-1 22 ", want: ""},
		{line: "ssmpipe proxy --via web-1 ", want: ""}, // a host that is no target
		{line: "ssmpipe proxy --via web-1 db.internal 338", want: "3389"},

		{line: "ssh we", want: "web-1 web-2"},
		{line: "ssh me@web-1", want: "me@web-1"},
		{line: "ssh -vp 22 web-1", want: "web-1"},
		{line: "ssh -p ", want: ""},
		{line: "ssh -p22 web-1", want: "web-1"},
		{line: "ssh -J web-1", want: "web-1"},
		{line: "ssh -J a@b,web-1", want: "a@b,web-1"},
		{line: "ssh -J a web-1", want: "web-1"},
		{line: "ssh -", want: ""},
		{line: "ssh web-1 we", want: ""},
		{line: "ssh web-1--il", want: "web-1--il-central-1"},
		{line: "ssh Bü", want: ""},
		{line: "ssh tag:", want: ""},
		{line: "sftp web-1", want: "web-1"},
		{line: "scp file web-1", want: "web-1:"},
		{line: "scp me@web-1", want: "me@web-1:"},
		{line: "scp -P 22 -r web-1", want: "web-1:"},
		{line: "scp -i web-1", want: ""},
		{line: "scp ./web-1", want: ""},
		{line: "scp web-1:", want: ""},
		{line: "rsync -a --delete web-1", want: "web-1:"},
		{line: "rsync -ae web-1", want: ""},
		{line: "cat web-1", want: ""},
	}
	for _, test := range tests {
		got, files := answers(test.line)
		if strings.Join(got, " ") != test.want || files != test.files {
			t.Errorf("%q: %q, files: %v; want %q, %v", test.line, got, files, test.want, test.files)
		}
	}
}

func TestCandidatesSayWhatTheyAre(t *testing.T) {
	tests := []struct{ line, value, help string }{
		{"ssmpipe ", "proxy", "reach a port"},
		{"ssmpipe proxy --", "--via", "go through TARGET"},
		{"ssmpipe proxy --region ", "eu-central-1", "Europe (Frankfurt)"},
		{"ssmpipe proxy ", "web-1", "i-0aaa1, running, 10.0.0.1"},
		{"ssmpipe proxy ", "web-2", "i-0aaa2, running, agent ConnectionLost, 10.0.0.2"},
		{"ssmpipe proxy ", "twin", "2 machines"},
		{"ssmpipe proxy i", "i-0bbb2", "twin, stopped"},
		{"ssmpipe proxy tag:", "tag:Team=", "2 machines"},
		{"ssmpipe proxy tag:Team=", "tag:Team=blue", "i-0aaa1, web-1, running, 10.0.0.1"},
		{"ssmpipe proxy web-1 ", "5432", "PostgreSQL"},
		{"scp ", "web-1:", "i-0aaa1, running, 10.0.0.1"},
	}
	for _, test := range tests {
		list, _ := testAsker().complete(strings.Split(test.line, " "))
		i := slices.IndexFunc(list, func(c candidate) bool { return c.value == test.value })
		if i < 0 || list[i].help != test.help {
			t.Errorf("%q: %+v, want %s with %q", test.line, list, test.value, test.help)
		}
	}
}

func TestProfilesSayTheirRegion(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	t.Setenv("AWS_CONFIG_FILE", file)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	os.WriteFile(file, []byte("[profile a]\ns3 =\n  region = no\nregion = eu-west-2\n[services s]\nregion = no\n[profile b]\n"), 0o600)
	list := profiles()
	if want := []candidate{{value: "a", help: "eu-west-2"}, {value: "b"}}; !slices.Equal(list, want) {
		t.Errorf("profiles %+v, want %+v", list, want)
	}
}

// TestRegionsAreTheSDKs notices a region that is new in the SDK.
func TestRegionsAreTheSDKs(t *testing.T) {
	dir := moduleDir(t, "github.com/aws/aws-sdk-go-v2")
	text, err := os.ReadFile(filepath.Join(dir, "internal/endpoints/awsrulesfn/partitions.json"))
	if err != nil {
		t.Fatal(err)
	}
	var data struct {
		Partitions []struct {
			Regions map[string]struct{ Description string }
		}
	}
	if err := json.Unmarshal(text, &data); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, p := range data.Partitions {
		for id, r := range p.Regions {
			if !strings.HasSuffix(id, "-global") {
				lines = append(lines, id+"\t"+r.Description+"\n")
			}
		}
	}
	slices.Sort(lines)
	if want := strings.Join(lines, ""); regionList != want {
		t.Errorf("regions.txt is not what the SDK has, which is\n%s", want)
	}
}

func TestAnswersAreSilentAboutNonsense(t *testing.T) {
	for _, args := range [][]string{nil, {"bash"}, {"bash", "x"}, {"bash", "ssmpipe", "no end of that"}, {"zsh"}, {"fish"}, {"powershell"}, {"powershell", "%"}, {"tcsh", "ssmpipe", ""}} {
		var out bytes.Buffer
		testAsker().answer(&out, args)
		if out.Len() > 0 {
			t.Errorf("%q: %q", args, &out)
		}
	}
}

func moduleDir(t *testing.T, path string) string {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
