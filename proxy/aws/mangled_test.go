package aws_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws"
	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/doctor"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/keys"
	"github.com/ssmpipe/ssmpipe/proxy/list"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/proxy/shell"
	"github.com/ssmpipe/ssmpipe/proxy/stdio"
	"github.com/ssmpipe/ssmpipe/proxy/table"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// mangler is between us and a service, and changes what the service answers to
// one of its operations.
type mangler struct {
	*httptest.Server

	mu     sync.Mutex
	op     string
	change func([]byte) []byte
	plain  []byte // the last answer as it was
}

// opKey is where the context of a call has its operation.
type opKey struct{}

func newMangler(t testing.TB, srv *awstest.Server) *mangler {
	m := &mangler{}
	to, err := url.Parse(srv.URL())
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host }, // as signed
		ModifyResponse: func(res *http.Response) error {
			body, err := io.ReadAll(res.Body)
			if err != nil {
				return err
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			if res.Request.Context().Value(opKey{}) == m.op && res.StatusCode == http.StatusOK {
				m.plain = body
				if m.change != nil {
					body = m.change(body)
				}
			}
			res.Body = io.NopCloser(bytes.NewReader(body))
			res.ContentLength = int64(len(body))
			res.Header.Set("Content-Length", strconv.Itoa(len(body)))
			return nil
		},
	}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		if form, err := url.ParseQuery(string(body)); err == nil && op == "" {
			op = form.Get("Action")
		}
		forward.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), opKey{}, op)))
	}))
	t.Cleanup(m.Server.Close)
	return m
}

// set has the answers to op changed from now on.
func (m *mangler) set(op string, change func([]byte) []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.op, m.change = op, change
}

// last is the last answer to the operation, before it was changed.
func (m *mangler) last() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.plain
}

func (m *mangler) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.plain = nil
}

// mangled returns what can be wrong with an answer: each of its fields missing,
// nothing, empty, or of another type.
func mangled(answer []byte) map[string]func([]byte) []byte {
	if bytes.HasPrefix(bytes.TrimSpace(answer), []byte("<")) {
		return mangledXML(answer)
	}
	all := map[string]func([]byte) []byte{}
	for _, body := range []string{"", "{}", "null", "[]", "7", "{"} {
		all["all "+body] = func([]byte) []byte { return []byte(body) }
	}
	var doc any
	if json.Unmarshal(answer, &doc) != nil {
		return all
	}
	var walk func(v any, path []any)
	walk = func(v any, path []any) {
		if len(path) > 0 {
			for name, value := range map[string]any{"absent": nil, "null": nil, "[]": []any{}, "{}": map[string]any{}, "7": 7, `""`: "", "[null]": []any{nil}} {
				all[fmt.Sprint(path, " ", name)] = func(b []byte) []byte {
					var doc any
					if json.Unmarshal(b, &doc) != nil || !replace(doc, path, value, name == "absent") {
						return b
					}
					b, _ = json.Marshal(doc)
					return b
				}
			}
		}
		switch v := v.(type) {
		case map[string]any:
			for name, value := range v {
				walk(value, append(slices.Clone(path), name))
			}
		case []any:
			if len(v) > 0 {
				walk(v[0], append(slices.Clone(path), 0))
			}
		}
	}
	walk(doc, nil)
	return all
}

// replace puts value at path, or takes away what is there.
func replace(doc any, path []any, value any, remove bool) bool {
	for i, step := range path {
		last := i == len(path)-1
		switch step := step.(type) {
		case string:
			m, ok := doc.(map[string]any)
			switch {
			case !ok:
				return false
			case last && remove:
				delete(m, step)
			case last:
				m[step] = value
			default:
				doc = m[step]
			}
		case int:
			l, ok := doc.([]any)
			if !ok || len(l) <= step {
				return false
			}
			if last {
				l[step] = value
			}
			doc = l[step]
		}
	}
	return true
}

var xmlTag = regexp.MustCompile(`<([A-Za-z]+)>`)

func mangledXML(answer []byte) map[string]func([]byte) []byte {
	all := map[string]func([]byte) []byte{}
	for _, body := range []string{"", "<a/>", "<a"} {
		all["all "+body] = func([]byte) []byte { return []byte(body) }
	}
	for _, found := range xmlTag.FindAllSubmatch(answer, -1) {
		tag := string(found[1])
		element := regexp.MustCompile(`(?s)<` + tag + `>.*?</` + tag + `>`)
		for name, with := range map[string]string{"absent": "", "empty": "<" + tag + "/>", "text": "<" + tag + ">x</" + tag + ">"} {
			all[tag+" "+name] = func(b []byte) []byte { return element.ReplaceAll(b, []byte(with)) }
		}
	}
	return all
}

// TestMangledAnswers: whatever is wrong with an answer to any of our calls is no
// panic, no hang and no line without an end, and leaves no session whose id has
// been told.
func TestMangledAnswers(t *testing.T) {
	srv := awstest.NewServer(awstest.Config{Config: ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true}}, Preferences: `{"inputs":{"kmsKeyId":"alias/ours"}}`})
	t.Cleanup(srv.Close)
	port := rigtest.ServeTCP(t, func(c net.Conn) { // echoes until it is told to quit
		b := make([]byte, 1)
		for b[0] != 'q' {
			if _, err := c.Read(b); err != nil {
				return
			}
			c.Write(b)
		}
	})
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, port)
	}
	srv.AddNode(awstest.Node{ID: rigtest.Node1, Name: "web-1", Node: ssmtest.Node{Dial: dial},
		Run: func(context.Context, string) (stdout, stderr string, exit int) { return "", "", 0 }})
	srv.AddNode(awstest.Node{ID: "mi-0123456789abcdef0", Name: "shop", Node: ssmtest.Node{Dial: dial}})
	task := srv.AddTask(awstest.Task{Cluster: "web", ID: "0123456789abcdef0123456789abcdef", Service: "front", Started: time.Now(),
		Containers: []awstest.Container{{Name: "app"}}})
	m := newMangler(t, srv)
	for _, e := range srv.Env() {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	t.Setenv("AWS_ENDPOINT_URL", m.URL)
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	t.Setenv("HOME", t.TempDir())
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var saying sync.Mutex
	var said strings.Builder
	say := func(text string) {
		saying.Lock()
		defer saying.Unlock()
		said.WriteString(text + "\n")
	}
	options := func(target string) machine.Options {
		return machine.Options{Driver: aws.Driver{}, Account: driver.Account{Notice: say}, Choice: machine.Choice{Target: target}, Port: "22",
			Limits: machine.Limits{ConnectTimeout: 20 * time.Second, ResumeTimeout: time.Second}}
	}
	screen := table.ScreenOf(null, false)
	terminal := shell.Terminal{In: null, Out: null, Err: null}
	connect := func(ctx context.Context, target string, push *stdio.PushKey, how string) error {
		ctx, leave := context.WithCancel(ctx)
		defer leave()
		o := stdio.Options{Options: options(target), Key: push}
		in, w, err := os.Pipe()
		if err != nil {
			return err
		}
		defer in.Close()
		defer w.Close()
		r, out, err := os.Pipe()
		if err != nil {
			return err
		}
		defer r.Close()
		ended := make(chan error, 1)
		go func() {
			defer out.Close()
			ended <- stdio.Connect(ctx, o, in, out)
		}()
		io.WriteString(w, "x")
		_, err = r.Read(make([]byte, 1))
		switch {
		case err != nil:
		case how == "cut":
			srv.Cut(ssmtest.CutBye)
			io.WriteString(w, "y")
			r.Read(make([]byte, 1))
		case how == "leave":
			leave()
			return <-ended
		}
		io.WriteString(w, "q")
		return <-ended
	}
	key := filepath.Join(t.TempDir(), "key.pub")
	rigtest.WriteFile(t, key, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsVK4EaXMUTYdIT9PHmXNBbGNTQXPZyqBQEYW1C7DzP\n")
	to := func(target string, push keys.Way, how string) func(context.Context) error {
		var k *stdio.PushKey
		if push != "" {
			k = &stdio.PushKey{Way: push, User: "u", Key: key}
		}
		return func(ctx context.Context) error { return connect(ctx, target, k, how) }
	}
	ls := func(ecs bool, regions ...string) func(context.Context) error {
		return func(ctx context.Context) error {
			return list.Machines(ctx, list.MachinesOptions{Options: options(""), Regions: regions, ECS: ecs, Screen: screen})
		}
	}
	exec := func(target string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := shell.Exec(ctx, shell.ExecOptions{Options: options(target), Command: []string{"true"}, Terminal: terminal})
			return err
		}
	}
	doctor := func(ctx context.Context) error {
		_, err := doctor.Run(ctx, doctor.Options{Options: options(rigtest.Node1)}, func(f doctor.Finding) { say(f.Detail + f.Remedy) })
		return err
	}
	sessions := func(ctx context.Context) error {
		return list.Sessions(ctx, list.SessionsOptions{Options: options(""), All: true, Screen: screen})
	}
	app := "ecs:web/" + task.ID + "/app"
	calls := map[string][]func(context.Context) error{
		"StartSession":                {to(rigtest.Node1, "", "")},
		"ResumeSession":               {to(rigtest.Node1, "", "cut")},
		"TerminateSession":            {to(rigtest.Node1, "", "leave")},
		"DescribeInstances":           {to("web-1", "", ""), ls(false)},
		"DescribeInstanceInformation": {to("shop", "", ""), ls(false)},
		"DescribeRegions":             {ls(false, "all")},
		"DescribeSessions":            {sessions},
		"SendSSHPublicKey":            {to(rigtest.Node1, keys.InstanceConnect, "")},
		"SendCommand":                 {to(rigtest.Node1, keys.RunCommand, "")},
		"GetCommandInvocation":        {to(rigtest.Node1, keys.RunCommand, "")},
		"GenerateDataKey":             {exec(rigtest.Node1)},
		"GetCallerIdentity":           {doctor},
		"GetDocument":                 {doctor},
		"ListClusters":                {ls(true)},
		"ListTasks":                   {ls(true)},
		"DescribeTasks":               {ls(true), exec(app)},
		"ExecuteCommand":              {exec(app)},
	}
	// Doctor takes its time, and reads little of an answer.
	read := map[string]*regexp.Regexp{
		"GetDocument":       regexp.MustCompile(`^all |Content\] (absent|null|7)`),
		"GetCallerIdentity": regexp.MustCompile(`^all |Arn`),
	}
	for _, op := range slices.Sorted(maps.Keys(calls)) {
		for i, call := range calls[op] {
			if t.Failed() {
				return // what lingers would fail the others
			}
			t.Run(fmt.Sprint(op, i), func(t *testing.T) {
				one := func(name string, change func([]byte) []byte) (text string) {
					t.Helper()
					t.Setenv("SSMPIPE_CACHE", t.TempDir())
					m.set(op, change)
					ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
					defer cancel()
					if err := call(ctx); err != nil {
						say(err.Error())
					}
					if ctx.Err() != nil {
						t.Errorf("%s: no end", name)
					}
					saying.Lock()
					for line := range strings.Lines(said.String()) {
						if len(line) > 2000 {
							t.Errorf("%s: a line of %d bytes: %.500s", name, len(line), line)
						}
					}
					text = said.String()
					said.Reset()
					saying.Unlock()
					if strings.HasPrefix(name, "all") || strings.Contains(name, "essionId]") || strings.HasPrefix(name, "[session]") {
						srv.ExpireSessions() // whose id nobody but the service knows
					}
					rigtest.WaitFor(t, "end of the sessions after "+name, func() bool { return srv.ActiveSessions() == 0 })
					return text
				}
				m.forget()
				first := one("as it is", nil)
				answer := m.last()
				if answer == nil {
					t.Fatalf("it was not called: %s", first)
				}
				for name, change := range mangled(answer) {
					if only := read[op]; only == nil || only.MatchString(name) {
						one(name, change)
					}
				}
			})
		}
	}
}
