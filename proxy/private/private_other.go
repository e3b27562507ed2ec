//go:build !unix

package private

import "io/fs"

// Own always returns true: on these systems the user's own directory keeps
// others out.
func Own(fs.FileInfo) bool { return true }

func open(fs.FileMode) fs.FileMode { return 0 }
