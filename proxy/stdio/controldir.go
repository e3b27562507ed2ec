package stdio

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/ssmpipe/ssmpipe/proxy/private"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// makeControlDir makes the directory for ssh's ControlPath. ssh binds its
// socket there after it has authenticated, and exits if it cannot.
func (o *Options) makeControlDir() {
	if o.ControlDir == "" {
		return
	}
	err := private.Dir(o.ControlDir)
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(o.ControlDir, ".try-"); err == nil {
			f.Close()
			os.Remove(f.Name())
		}
	}
	if err == nil {
		return
	}
	o.noSockets = true
	keys := ""
	if o.Key != nil && o.Key.Socket != "" && filepath.Dir(o.Key.Socket) == filepath.Clean(o.ControlDir) {
		keys = "no key supplied, ssh goes on with the keys in your files; "
	}
	o.Notice(safetext.Printable(fmt.Sprintf("%s: %v; %sssh exits if it cannot create its ControlPath there: use ssh -o ControlPath=none", o.Target, err, keys)))
}
