//go:build !unix

package proxy

import "os"

// watchGone watches nothing here: that the reader has gone is noticed when
// something is written.
func watchGone(*os.File) (gone <-chan struct{}, stop func()) { return nil, func() {} }
