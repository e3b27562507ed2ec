package aws

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/ssmpipe/ssmpipe/proxy/private"
)

// userHome is a user's home on a machine that runs the script.
type userHome struct {
	home  string
	user  string
	uid   int
	path  string // with what the script finds there
	lacks string // a tool
}

const testUser = "ec2-user"

func newUserHome(t *testing.T) *userHome {
	t.Helper()
	dir, err := os.MkdirTemp("", "machine")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o755) // t.TempDir's parents are not for other users
	m := &userHome{home: filepath.Join(dir, "home of"), user: testUser, uid: os.Getuid()}
	bin := filepath.Join(dir, "bin")
	for _, d := range []string{m.home, bin} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m.path = bin + ":" + os.Getenv("PATH")
	m.setEntry(t)
	return m
}

// setEntry makes the user's entry in passwd.
func (m *userHome) setEntry(t *testing.T) {
	m.tool(t, "getent", fmt.Sprintf(`[ "$1 $2" = "passwd %[1]s" ] && echo '%[1]s:x:%[2]d:%[2]d::%[3]s:/bin/sh'`, m.user, m.uid, m.home))
}

// tool makes a command of the machine.
func (m *userHome) tool(t *testing.T, name, script string) {
	t.Helper()
	bin, _, _ := strings.Cut(m.path, ":")
	if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func (m *userHome) file() string { return filepath.Join(m.home, ".ssh", "authorized_keys") }

func (m *userHome) put(t *testing.T, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(m.file()), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.file(), []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	os.Chmod(m.file(), mode)
}

func (m *userHome) read() string {
	b, err := os.ReadFile(m.file())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// run runs the script as the agent does: it waits for all that has its stdout.
func (m *userHome) run(shell []string, user, key string, life time.Duration) (stderr string, err error) {
	script := filepath.Join(filepath.Dir(m.home), rand.Text()+"_script.sh")
	text := commandScript(user, key, life)
	if m.lacks != "" {
		text = strings.ReplaceAll(text, "command -v "+m.lacks, "command -v no-"+m.lacks)
	}
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		return "", err
	}
	cmd := exec.Command(shell[0], append(shell[1:], script)...)
	cmd.Env = []string{"PATH=" + m.path}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return out.String(), err
}

// gone waits until the line is.
func (m *userHome) gone(t *testing.T, key string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); strings.Contains(m.read(), key); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the key stays: %q", m.read())
		}
	}
	// The lock goes last.
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(m.file() + ".ssmpipe"); err != nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the lock stays")
		}
	}
}

// shells are those that may be a machine's sh.
func shells(t *testing.T) map[string][]string {
	list := map[string][]string{"sh": {"sh"}}
	for _, s := range [][]string{{"dash"}, {"bash", "--posix"}, {"busybox", "sh"}, {"mksh"}} {
		if path, err := exec.LookPath(s[0]); err == nil {
			list[s[0]] = append([]string{path}, s[1:]...)
		}
	}
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("no sh here")
	}
	return list
}

func testKey(t testing.TB) string {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// TestRunCommandLeavesTheFileAsItWas: whatever was there, the key is added, and
// is gone a while later with nothing else changed.
func TestRunCommandLeavesTheFileAsItWas(t *testing.T) {
	t.Parallel()
	for name, shell := range shells(t) {
		for what, content := range map[string]string{
			"lines":             "ssh-ed25519 AAAA a\n# a comment\n\n  ssh-rsa BBBB b b  \n",
			"no newline at end": "ssh-ed25519 AAAA a\nssh-rsa BBBB \\n%s b",
			"carriage returns":  "ssh-ed25519 AAAA a\r\nssh-rsa BBBB b\r\n",
			"empty":             "",
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				t.Parallel()
				m := newUserHome(t)
				m.put(t, content, 0o640)
				key := testKey(t)
				if out, err := m.run(shell, testUser, key, 2*time.Second); err != nil || out != "" {
					t.Fatalf("%v: %q", err, out)
				}
				with := m.read()
				first, rest, _ := strings.Cut(with, "\n")
				if !strings.Contains(first, key+" ssmpipe-") || rest != content {
					t.Errorf("with the key: %q", with)
				}
				m.gone(t, key)
				info, err := os.Stat(m.file())
				if err != nil || info.Mode() != 0o640 || m.read() != content {
					t.Errorf("afterwards: %v, %v, %q", err, info.Mode(), m.read())
				}
			})
		}
		t.Run(name+"/nothing", func(t *testing.T) {
			t.Parallel()
			m := newUserHome(t)
			key := testKey(t)
			if out, err := m.run(shell, testUser, key, 2*time.Second); err != nil || out != "" {
				t.Fatalf("%v: %q", err, out)
			}
			dir, err1 := os.Stat(filepath.Dir(m.file()))
			file, err2 := os.Stat(m.file())
			if err1 != nil || err2 != nil || dir.Mode().Perm() != 0o700 || file.Mode() != 0o600 || !strings.Contains(m.read(), key) {
				t.Errorf("%v, %v, %q", dir, file, m.read())
			}
			m.gone(t, key)
			for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
				list, err := os.ReadDir(m.home)
				if err == nil && len(list) == 0 {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("left behind: %v %v", list, err)
				}
			}
		})
	}
}

// TestRunCommandManyAtOnce: none undoes what another has done.
func TestRunCommandManyAtOnce(t *testing.T) {
	t.Parallel()
	sh := shells(t)["sh"]
	m := newUserHome(t)
	const mine = "ssh-ed25519 AAAA mine\n"
	m.put(t, mine, 0o600)
	const n = 8
	keys := make([]string, n)
	for i := range keys {
		keys[i] = testKey(t)
	}
	var wg sync.WaitGroup
	for i, key := range keys {
		wg.Go(func() {
			// The odd ones end while the others are added.
			if out, err := m.run(sh, testUser, key, time.Duration(20*((i+1)%2))*time.Second); err != nil || out != "" {
				t.Errorf("%v: %q", err, out)
			}
		})
	}
	wg.Wait()
	for i, key := range keys {
		if i%2 == 1 {
			m.gone(t, key)
		}
	}
	for i, key := range keys {
		if got := strings.Count(m.read(), key); got != (i+1)%2 {
			t.Errorf("key %d is there %d times", i, got)
		}
	}
	if !strings.HasSuffix(m.read(), mine) {
		t.Errorf("%q", m.read())
	}
}

// TestRunCommandForgotten: lines that a machine has kept because it was switched
// off go with the next key; whatever looks similar stays.
func TestRunCommandForgotten(t *testing.T) {
	t.Parallel()
	m := newUserHome(t)
	stay := fmt.Sprintf("ssh-ed25519 AAAA ssmpipe-1-xyz\nssh-ed25519 AAAB ssmpipe-1000-\nssh-ed25519 AAAC ssmpipe-%d-0f\n", time.Now().Unix())
	m.put(t, "ssh-ed25519 AAAD ssmpipe-1700000000-0a1b\n"+stay, 0o600)
	os.Mkdir(m.file()+".ssmpipe", 0o700) // and a lock
	key := testKey(t)
	if out, err := m.run(shells(t)["sh"], testUser, key, 20*time.Second); err != nil || out != "" {
		t.Fatalf("%v: %q", err, out)
	}
	if _, rest, _ := strings.Cut(m.read(), "\n"); rest != stay {
		t.Errorf("%q", m.read())
	}
}

// TestRunCommandTellsTheEndToSSHDThatKnowsIt: an option that sshd does not know
// would make it refuse the key.
func TestRunCommandTellsTheEndToSSHDThatKnowsIt(t *testing.T) {
	t.Parallel()
	for version, knows := range map[string]bool{
		"OpenSSH_7.4p1, OpenSSL 1.0.2k-fips":            false,
		"OpenSSH_8.7p1, OpenSSL 3.0.8":                  false,
		"OpenSSH_9.0p1 Ubuntu-1ubuntu8.5":               false,
		"OpenSSH_9.2, OpenSSL 3.0.19":                   true,
		"OpenSSH_9.10p1":                                true,
		"OpenSSH_10.0p2 Debian-5, OpenSSL 3.5.1":        true,
		"Dropbear v2022.83":                             false,
		"unknown option -- V\nOpenSSH_6.6.1p1, OpenSSL": false,
	} {
		m := newUserHome(t)
		m.tool(t, "sshd", "printf '%s\\n' '"+version+"' >&2; exit 1")
		key := testKey(t)
		if out, err := m.run(shells(t)["sh"], testUser, key, 30*time.Second); err != nil || out != "" {
			t.Fatalf("%v: %q", err, out)
		}
		at := time.Now().UTC().Format("200601021504")[:10]
		if got := strings.HasPrefix(m.read(), `expiry-time="`+at); got != knows || !knows && !strings.HasPrefix(m.read(), key) {
			t.Errorf("%s: %q", version, m.read())
		}
	}
}

// TestRunCommandQuotes: whatever stands for a user or a key is one word.
func TestRunCommandQuotes(t *testing.T) {
	t.Parallel()
	for name, shell := range shells(t) {
		m := newUserHome(t)
		mark := filepath.Join(m.home, "mark")
		for _, hostile := range []string{"'; touch '" + mark + "'; '", "$(touch " + mark + ")", "`touch " + mark + "`", "a\ntouch '" + mark + "'\n", "-n", `\`, "*"} {
			if out, err := m.run(shell, hostile, testKey(t), 0); err == nil || !strings.HasPrefix(out, "there is no user ") {
				t.Errorf("%s, %q: %v, %q", name, hostile, err, out)
			}
			if out, err := m.run(shell, testUser, hostile, 20*time.Second); err != nil {
				t.Errorf("%s, %q: %v, %q", name, hostile, err, out)
			}
		}
		if _, err := os.Stat(mark); err == nil {
			t.Errorf("%s: something hostile ran", name)
		}
	}
	if strings.Contains(commandScript(testUser, "", 0), "{{") {
		t.Error("the document would take that for a parameter of its own")
	}
}

// TestRunCommandIsNotLedAway: root writes as the user, so that a link of his
// leads to nothing that is not his.
func TestRunCommandIsNotLedAway(t *testing.T) {
	t.Parallel()
	nobody, err := user.Lookup("nobody")
	if err != nil || os.Getuid() != 0 {
		t.Skip("takes root, as the agent is, and another user")
	}
	for _, way := range []string{"runuser", "su"} {
		t.Run(way, func(t *testing.T) {
			if _, err := exec.LookPath(way); err != nil {
				t.Skip(err)
			}
			m := newUserHome(t)
			m.user = "nobody"
			m.uid, _ = strconv.Atoi(nobody.Uid)
			m.setEntry(t)
			if way == "su" {
				m.lacks = "runuser"
			}
			os.Chown(m.home, m.uid, -1)
			key := testKey(t)
			if out, err := m.run([]string{"sh"}, m.user, key, 2*time.Second); err != nil || out != "" {
				t.Fatalf("%v: %q", err, out)
			}
			info, err := os.Stat(m.file())
			if err != nil || private.Own(info) || !strings.Contains(m.read(), key) {
				t.Errorf("%v, not the user's own, with %q", info, m.read())
			}
			m.gone(t, key)
			secret := filepath.Join(filepath.Dir(m.home), "secret")
			os.MkdirAll(secret, 0o755)
			for _, link := range []string{".ssh", ".ssh/authorized_keys"} {
				os.RemoveAll(filepath.Join(m.home, ".ssh"))
				os.WriteFile(filepath.Join(secret, "authorized_keys"), []byte("root's\n"), 0o644)
				to := secret
				if link != ".ssh" {
					to = filepath.Join(secret, "authorized_keys")
					os.Mkdir(filepath.Join(m.home, ".ssh"), 0o700)
					os.Chown(filepath.Join(m.home, ".ssh"), m.uid, -1)
				}
				if err := os.Symlink(to, filepath.Join(m.home, link)); err != nil {
					t.Fatal(err)
				}
				out, err := m.run([]string{"sh"}, m.user, key, time.Second)
				if err == nil || !strings.Contains(out, "is not "+m.user+"'s to write") {
					t.Errorf("%v: %q", err, out)
				}
				if list, _ := os.ReadDir(secret); len(list) != 1 || m.read() != "root's\n" {
					t.Errorf("%v, %q", list, m.read())
				}
			}
		})
	}
}
