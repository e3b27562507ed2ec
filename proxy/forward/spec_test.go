package forward

import (
	"errors"
	"testing"
)

func TestParseLocal(t *testing.T) {
	for text, want := range map[string]Spec{
		"5432:db.internal:5432":       {"tcp", "localhost:5432", "db.internal", "5432", false},
		"0:db:1":                      {"tcp", "localhost:0", "db", "1", false},
		"8080:localhost:80":           {"tcp", "localhost:8080", "", "80", false},
		"8080::80":                    {"tcp", "localhost:8080", "", "80", false},
		"8080:127.0.0.1:http":         {"tcp", "localhost:8080", "", "80", false},
		"8080:localhost.:80":          {"tcp", "localhost:8080", "", "80", false},
		"8080:127.0.0.53:80":          {"tcp", "localhost:8080", "127.0.0.53", "80", false},
		"8080:[::1]:80":               {"tcp", "localhost:8080", "", "80", false},
		"*:8080:web:80":               {"tcp", ":8080", "web", "80", false},
		":8080:web:80":                {"tcp", ":8080", "web", "80", false},
		"10.0.0.7:8080:web:80":        {"tcp", "10.0.0.7:8080", "web", "80", false},
		"[::1]:8080:[2001:db8::1]:80": {"tcp", "[::1]:8080", "2001:db8::1", "80", false},
		"/tmp/pg.sock:db:5432":        {"unix", "/tmp/pg.sock", "db", "5432", false},
		"./pg.sock:db:5432":           {"unix", "./pg.sock", "db", "5432", false},
	} {
		if got, err := ParseLocal(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "5432", "5432:db", "x:db:1", "1:db:0", "1:db:", "1:db:65536", "70000:db:1",
		"a:b:c:d:e", "[::1:80:db:1", "[::1]80:db:1", "[web]:80:db:1", "2001:db8::1:80"} {
		if got, err := ParseLocal(text); !errors.Is(err, ErrSpec) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestParseDynamic(t *testing.T) {
	for text, want := range map[string]Spec{
		"1080":         {"tcp", "localhost:1080", "", "", true},
		"*:1080":       {"tcp", ":1080", "", "", true},
		"[::1]:1080":   {"tcp", "[::1]:1080", "", "", true},
		"/run/s.sock":  {"unix", "/run/s.sock", "", "", true},
		"127.0.0.1:99": {"tcp", "127.0.0.1:99", "", "", true},
	} {
		if got, err := ParseDynamic(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "1080:web:80", "a:b:c", "[1080"} {
		if got, err := ParseDynamic(text); !errors.Is(err, ErrSpec) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func FuzzSpec(f *testing.F) {
	f.Add("[::1]:8080:[2001:db8::1]:80")
	f.Add("/tmp/x:db:5432")
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(string) (Spec, error){ParseLocal, ParseDynamic} {
			s, err := parse(text)
			if err != nil && !errors.Is(err, ErrSpec) {
				t.Errorf("%q: %v", text, err)
			}
			if err == nil && (s.Network == "" || s.Listen == "" || !s.Dynamic && s.Port == "") {
				t.Errorf("%q: %+v", text, s)
			}
		}
	})
}
