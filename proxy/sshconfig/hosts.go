package sshconfig

import (
	"cmp"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
)

// host is a machine with its names in the configuration. Of the text of tags,
// which may be anything, it contains only letters, digits and ._-.
type host struct {
	aliases  []string // the first is the one to sort by
	id       string
	region   string // "" if it is not known
	platform string // as the service reports it; must not be written
	note     string // why it is not called by its name alone; may be empty
}

// managed reports whether the machine is a node outside EC2.
func (h *host) managed() bool { return strings.HasPrefix(h.id, "mi-") }

var validID = regexp.MustCompile(`^m?i-[0-9A-Za-z]+$`)

// nameHosts assigns names to the machines of list. A name belongs to at most one
// machine, and names that mean something else are not used.
func nameHosts(list []driver.Machine, suffix string, taken *Names) []host {
	names := make(map[string]int) // how many have it, whatever its case
	var hosts []host
	seen := make(map[string]bool)
	private := newPrivateNames(list)
	for _, i := range list {
		if !validID.MatchString(i.ID) || seen[i.ID] || i.State == "terminated" || i.State == "shutting-down" {
			continue
		}
		seen[i.ID] = true
		h := host{id: i.ID, platform: i.Platform, aliases: []string{hostName(i.Name)}}
		if validWord.MatchString(i.Region) {
			h.region = i.Region
		}
		names[strings.ToLower(h.aliases[0])]++
		hosts = append(hosts, h)
	}
	for i := range hosts {
		h := &hosts[i]
		name := h.aliases[0]
		switch {
		case name == "":
			h.note = "Its name cannot be made a host name."
			name = h.id
		case names[strings.ToLower(name)] > 1:
			h.note = "Its name is not unique."
			name += "." + h.id
		default:
			if h.note = otherMeaning(h.id, name, suffix, taken, private); h.note != "" {
				name += "." + h.id
			}
		}
		name += suffix
		h.aliases = []string{name}
		if lower := strings.ToLower(name); lower != name {
			h.aliases = append(h.aliases, lower)
		}
	}
	slices.SortFunc(hosts, func(a, b host) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.aliases[0]), strings.ToLower(b.aliases[0])), strings.Compare(a.id, b.id))
	})
	return hosts
}

// hostName turns a name into a valid host name by dropping invalid characters. It
// returns "" if nothing is left.
func hostName(name string) string {
	var b strings.Builder
	gap := false
	for _, r := range name {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', strings.ContainsRune("._-", r):
			if gap && b.Len() > 0 {
				b.WriteByte('-')
			}
			gap = false
			b.WriteRune(r)
		default:
			gap = true
		}
	}
	return strings.TrimRight(strings.TrimLeft(b.String(), "._-"), ".-")
}

var (
	looksLikeID = regexp.MustCompile(`^m?i-|\.m?i-[0-9a-z]+$`)
	looksLikeIP = regexp.MustCompile(`^(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*$`) // as accepted by inet_aton(3): 10.1, 0xa000001
)

// otherMeaning returns why the machine id may not be called name, even though no
// other machine is. Otherwise anyone who may set tags could take over a host, or
// another machine, that users reach by that name today.
func otherMeaning(id, name, suffix string, taken *Names, private *privateNames) string {
	lower := strings.ToLower(name)
	if looksLikeID.MatchString(lower) {
		return "Its name looks like an id."
	}
	if suffix != "" {
		// All names with the suffix are ssmpipe's, except those in a Host line.
		if taken.named(lower + strings.ToLower(suffix)) {
			return noteNamed
		}
		return ""
	}
	if note := taken.meaning(lower); note != "" {
		return note
	}
	if note := otherHost(lower); note != "" {
		return note
	}
	if privateName.MatchString(lower) && !private.may(id, lower) {
		return "Its name is the private DNS name of another machine."
	}
	return ""
}

// OtherHost reports whether name, taken literally, could be the name of a host
// that is not one of the machines.
func OtherHost(name string) bool { return otherHost(strings.ToLower(name)) != "" }

func otherHost(lower string) string {
	_, err := netip.ParseAddr(lower)
	switch {
	case err == nil, looksLikeIP.MatchString(lower):
		return "Its name looks like an address."
	case lower == "localhost", strings.HasSuffix(lower, ".localhost"):
		return "Its name means this machine."
	case strings.Contains(lower, ".") && !privateName.MatchString(lower):
		return "Its name could be that of another host."
	}
	return ""
}

// privateName matches names in EC2's private DNS, with and without the domain.
var privateName = regexp.MustCompile(`^(ip(-[0-9]+){4}|[0-9a-z-]+\.(ec2|[a-z0-9-]+\.compute)\.internal)$`)

// privateNames holds the machines' names in EC2's private DNS.
type privateNames struct {
	owner map[string]string // the machine, by its name there, whole and first label
	named map[string]bool   // machines that are known to have one
}

func newPrivateNames(list []driver.Machine) *privateNames {
	p := &privateNames{make(map[string]string), make(map[string]bool)}
	for _, i := range list {
		if name := strings.ToLower(i.PrivateDNS); name != "" {
			first, _, _ := strings.Cut(name, ".")
			p.owner[name], p.owner[first], p.named[i.ID] = i.ID, i.ID, true
		}
	}
	return p
}

// may reports whether the machine id may have such a name: its own or, if it is
// not known to have one, a name that no other machine has.
func (p *privateNames) may(id, name string) bool {
	owner, known := p.owner[name]
	if known || p.named[id] {
		return owner == id
	}
	return strings.HasPrefix(id, "i-") // no node outside EC2 has one
}
