package plugin

import (
	"os"

	"golang.org/x/sys/windows"
)

// watchParent returns a function that reports whether the parent has ended, and
// one to call when done; nil if there is no parent any more.
func watchParent() (gone func() bool, done func()) {
	parent, err := windows.OpenProcess(windows.SYNCHRONIZE, false, uint32(os.Getppid()))
	if err != nil {
		return nil, nil
	}
	return func() bool {
		event, err := windows.WaitForSingleObject(parent, 0)
		return err == nil && event == windows.WAIT_OBJECT_0
	}, func() { windows.CloseHandle(parent) }
}
