package ssmproto

import (
	"os"
	"regexp"
	"testing"
)

// TestMapNamesFilesThatExist keeps the map in doc.go true when files are renamed.
func TestMapNamesFilesThatExist(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`[\w/]+\.go\b`).FindAllString(string(doc), -1)
	if len(names) < 20 {
		t.Errorf("the map names only %d files", len(names))
	}
	for _, name := range names {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
}
