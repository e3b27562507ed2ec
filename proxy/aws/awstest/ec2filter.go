package awstest

import (
	"slices"
	"strconv"
	"strings"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// filter is one of DescribeInstances: what has any of the values passes.
type filter struct {
	name   string
	values []string // patterns
}

// filters pass what all of them pass.
type filters []filter

// maxFilterValues is how many there may be in a call.
const maxFilterValues = 200

// instanceFields are what filters are about, besides tags.
var instanceFields = map[string]func(*Node) string{
	"instance-id":         func(n *Node) string { return n.ID },
	"instance-state-name": func(n *Node) string { return n.State },
	"instance-type":       func(n *Node) string { return n.Type },
	"availability-zone":   func(n *Node) string { return n.Zone },
	"private-ip-address":  func(n *Node) string { ip, _, _ := n.addresses(); return ip },
	"private-dns-name":    func(n *Node) string { _, dns, _ := n.addresses(); return dns },
	"ip-address":          func(n *Node) string { _, _, ip := n.addresses(); return ip },
}

// instanceFilters reads Filter.N.Name and Filter.N.Value.M.
func instanceFilters(c *apiCall) (filters, *ssmtest.APIError) {
	var fs filters
	count := 0
	for i := 1; ; i++ {
		prefix := "Filter." + strconv.Itoa(i)
		if !c.form.Has(prefix + ".Name") {
			break
		}
		f := filter{c.form.Get(prefix + ".Name"), c.list(prefix + ".Value")}
		if key, ok := strings.CutPrefix(f.name, "tag:"); !(ok && key != "") && f.name != "tag-key" && instanceFields[f.name] == nil {
			return nil, badRequest("InvalidParameterValue", "The filter '%s' is invalid", f.name)
		}
		if len(f.values) == 0 {
			return nil, badRequest("InvalidParameterValue", "The filter '%s' has no values", f.name)
		}
		count += len(f.values)
		fs = append(fs, f)
	}
	if count > maxFilterValues {
		return nil, badRequest("FilterLimitExceeded", "The maximum number of filter values specified on a single call is %d", maxFilterValues)
	}
	return fs, nil
}

func (fs filters) match(n *Node) bool {
	return !slices.ContainsFunc(fs, func(f filter) bool { return !f.match(n) })
}

func (f filter) match(n *Node) bool {
	var has []string
	if key, ok := strings.CutPrefix(f.name, "tag:"); ok {
		value, ok := n.tag(key)
		if !ok {
			return false
		}
		has = []string{value}
	} else if f.name == "tag-key" {
		for _, t := range n.tags() {
			has = append(has, t[0])
		}
	} else if v := instanceFields[f.name](n); v != "" {
		has = []string{v}
	}
	return slices.ContainsFunc(f.values, func(pattern string) bool {
		return slices.ContainsFunc(has, func(s string) bool { return wildcard([]rune(pattern), []rune(s)) })
	})
}

// wildcard matches as EC2's filters do: * is any characters, ? is any one, and
// what comes after a backslash is itself.
func wildcard(pattern, s []rune) bool {
	for len(pattern) > 0 {
		switch c := pattern[0]; {
		case c == '*':
			for i := range len(s) + 1 {
				if wildcard(pattern[1:], s[i:]) {
					return true
				}
			}
			return false
		case len(s) == 0:
			return false
		case c == '\\' && len(pattern) > 1:
			pattern = pattern[1:]
			if pattern[0] != s[0] {
				return false
			}
		case c != '?' && c != s[0]:
			return false
		}
		pattern, s = pattern[1:], s[1:]
	}
	return len(s) == 0
}
