//go:build unix

package regular

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOnlyRegularFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	name := func(n string) string { return filepath.Join(dir, n) }
	if err := os.WriteFile(name("file"), []byte("12345678"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(name("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", name("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for link, to := range map[string]string{"to-file": "file", "to-pipe": "pipe", "to-zero": "/dev/zero", "to-null": os.DevNull, "to-itself": "to-itself"} {
		if err := os.Symlink(to, name(link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		want error
		text string
	}{
		{name("file"), nil, "12345678"},
		{name("to-file"), nil, "12345678"},
		{os.DevNull, nil, ""},
		{name("to-null"), nil, ""},
		{name("pipe"), ErrNotRegular, ""},
		{name("to-pipe"), ErrNotRegular, ""},
		{name("socket"), ErrNotRegular, ""},
		{name("to-zero"), ErrNotRegular, ""},
		{"/dev/zero", ErrNotRegular, ""},
		{"/dev/tty", ErrNotRegular, ""},
		{dir, ErrNotRegular, ""},
		{name("none"), fs.ErrNotExist, ""},
		{name("to-itself"), unix.ELOOP, ""},
	} {
		if text, err := ReadFile(tt.name, 8); !errors.Is(err, tt.want) || string(text) != tt.text {
			t.Errorf("ReadFile(%s): %q, %v", tt.name, text, err)
		}
		if err := Check(tt.name, 8); !errors.Is(err, tt.want) {
			t.Errorf("Check(%s): %v", tt.name, err)
		}
	}
	if _, err := ReadFile(name("file"), 7); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a file that is too large: %v", err)
	}
	if err := Check(name("file"), 7); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a file that is too large: %v", err)
	}
	if f, err := OpenFile(name("pipe"), os.O_WRONLY, 0); !errors.Is(err, ErrNotRegular) {
		t.Errorf("a pipe to be written: %v, %v", f, err)
	}
	f, err := OpenFile(name("new"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}
