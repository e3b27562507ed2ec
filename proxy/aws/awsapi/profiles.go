package awsapi

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/ssmpipe/ssmpipe/proxy/regular"
)

// NoProfileError says that a profile does not exist, and which ones do.
type NoProfileError struct {
	name  string
	known []string // most similar names first
	err   error    // the SDK's error
}

func (e *NoProfileError) Error() string { return fmt.Sprintf("there is no profile %q", e.name) }
func (e *NoProfileError) Unwrap() error { return e.err }

// maxProfiles is how many profiles the error names.
const maxProfiles = 8

func (e *NoProfileError) Next() string {
	if len(e.known) == 0 {
		return `there are none: "aws configure" or "aws configure sso" makes one`
	}
	text := "there are " + strings.Join(e.known[:min(len(e.known), maxProfiles)], ", ")
	if len(e.known) == 1 {
		text = "there is " + e.known[0]
	}
	if more := len(e.known) - maxProfiles; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// profileError returns err, adding the existing profiles if err is about one
// that does not exist.
func profileError(err error) error {
	var none config.SharedConfigProfileNotExistError
	if !errors.As(err, &none) {
		return err
	}
	var known []string
	for _, f := range []struct{ name, prefix string }{
		{cmp.Or(os.Getenv("AWS_CONFIG_FILE"), config.DefaultSharedConfigFilename()), "profile "},
		{cmp.Or(os.Getenv("AWS_SHARED_CREDENTIALS_FILE"), config.DefaultSharedCredentialsFilename()), ""},
	} {
		file, err := regular.Open(f.name)
		if err != nil {
			continue
		}
		known = append(known, profileNames(file, f.prefix)...)
		file.Close()
	}
	slices.Sort(known)
	known = slices.Compact(known)
	slices.SortStableFunc(known, func(a, b string) int {
		return cmp.Compare(levenshtein.ComputeDistance(a, none.Profile), levenshtein.ComputeDistance(b, none.Profile))
	})
	return &NoProfileError{none.Profile, known, err}
}

// profileNames returns the profiles in a configuration file whose sections
// start with prefix, except the default one.
func profileNames(r io.Reader, prefix string) (names []string) {
	lines := bufio.NewScanner(io.LimitReader(r, 1<<20))
	for lines.Scan() {
		section, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "[")
		section, _, closed := strings.Cut(section, "]")
		if !ok || !closed {
			continue
		}
		section = strings.Join(strings.Fields(section), " ")
		if name, ok := strings.CutPrefix(section, prefix); ok && name != "" && len(name) <= 64 || section == config.DefaultSharedConfigProfile {
			names = append(names, name)
		}
	}
	return names
}
