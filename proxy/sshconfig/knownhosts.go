package sshconfig

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"slices"
	"strings"
)

// knownHosts holds the hosts of files in the format of known_hosts; see sshd(8).
type knownHosts struct {
	names    map[string]bool
	patterns []string
	hashed   []hashedHost
	ports    []string // ports to try in addition to otherPorts
}

// hashedHost is |1|SALT|HASH: the HMAC-SHA1 of a name, with the salt as key.
type hashedHost struct{ salt, hash []byte }

func parseHashed(text string) (h hashedHost, ok bool) {
	salt, hash, _ := strings.Cut(strings.TrimPrefix(text, "|1|"), "|")
	s, err1 := base64.StdEncoding.DecodeString(salt)
	sum, err2 := base64.StdEncoding.DecodeString(hash)
	return hashedHost{s, sum}, err1 == nil && err2 == nil && len(sum) == sha1.Size
}

// is reports whether h is the hash of one of forms.
func (h *hashedHost) is(forms ...[]byte) bool {
	mac := hmac.New(sha1.New, h.salt)
	sum := make([]byte, 0, sha1.Size)
	for _, form := range forms {
		mac.Reset()
		mac.Write(form)
		if sum = mac.Sum(sum[:0]); bytes.Equal(sum, h.hash) {
			return true
		}
	}
	return false
}

// add adds the hosts of a file.
func (k *knownHosts) add(text []byte) {
	if k.names == nil {
		k.names = make(map[string]bool)
	}
	for line := range bytes.Lines(text) {
		words := strings.Fields(string(line))
		if len(words) > 0 && strings.HasPrefix(words[0], "@") {
			words = words[1:] // @cert-authority, @revoked
		}
		if len(words) < 3 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if strings.HasPrefix(words[0], "|1|") {
			if h, ok := parseHashed(words[0]); ok {
				k.hashed = append(k.hashed, h)
			}
			continue
		}
		for word := range strings.SplitSeq(strings.ToLower(words[0]), ",") {
			word, port := cutPort(strings.TrimPrefix(word, "!"))
			k.port(port)
			switch {
			case !strings.ContainsAny(word, "*?"):
				k.names[word] = true
			case hasLetter(word):
				k.patterns = append(k.patterns, word)
			}
		}
	}
}

// cutPort splits [HOST]:PORT.
func cutPort(word string) (host, port string) {
	if rest, ok := strings.CutPrefix(word, "["); ok {
		host, port, _ = strings.Cut(rest, "]")
		return host, strings.TrimPrefix(port, ":")
	}
	return word, ""
}

// maxPorts is the maximum number of ports to try for each hash.
const maxPorts = 32

// port adds a port to try.
func (k *knownHosts) port(port string) {
	if len(k.ports) < maxPorts && port != "" && port != "22" && !slices.Contains(otherPorts, port) && !slices.Contains(k.ports, port) {
		k.ports = append(k.ports, port)
	}
}

// otherPorts are common ports of sshd other than 22. They must be tried, since a
// hash does not reveal its port.
var otherPorts = []string{"2222", "22222", "2022", "443", "29418", "7999"}

// has reports whether k has a host of that name, which is in lower case.
func (k *knownHosts) has(name string) bool {
	if k.names[name] {
		return true
	}
	for _, p := range k.patterns {
		if matchPattern(p, name) {
			return true
		}
	}
	forms := [][]byte{[]byte(name)}
	for _, list := range [][]string{otherPorts, k.ports} {
		for _, port := range list {
			forms = append(forms, []byte("["+name+"]:"+port))
		}
	}
	for _, h := range k.hashed {
		if h.is(forms...) {
			return true
		}
	}
	return false
}
