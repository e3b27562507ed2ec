package completion

import (
	"bytes"
	_ "embed"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/regular"
)

// regionList has a line with id and name for each region, from the SDK's
// internal/endpoints/awsrulesfn/partitions.json, which it does not export.
//
//go:embed regions.txt
var regionList string

// regions returns all AWS regions, each with before in front of it.
func regions(before string) (list []candidate) {
	for line := range strings.Lines(regionList) {
		id, name, _ := strings.Cut(strings.TrimSpace(line), "\t")
		list = append(list, candidate{value: before + id, help: name})
	}
	return list
}

// regionLists completes the last region of a list such as a,b,c, or "all".
func regionLists(word string) []candidate {
	if i := strings.LastIndexByte(word, ','); i >= 0 {
		return regions(word[:i+1])
	}
	return append(regions(""), candidate{value: "all", help: "every region of the account"})
}

// ports are common ports.
var ports = []candidate{
	{value: "22", help: "ssh"},
	{value: "80", help: "http"},
	{value: "443", help: "https"},
	{value: "1433", help: "SQL Server"},
	{value: "1521", help: "Oracle"},
	{value: "2049", help: "NFS"},
	{value: "3306", help: "MySQL, MariaDB"},
	{value: "3389", help: "remote desktop (RDP)"},
	{value: "5432", help: "PostgreSQL"},
	{value: "5439", help: "Redshift"},
	{value: "5900", help: "VNC"},
	{value: "5985", help: "WinRM"},
	{value: "5986", help: "WinRM over TLS"},
	{value: "6379", help: "Redis, Valkey"},
	{value: "8080", help: "http"},
	{value: "8443", help: "https"},
	{value: "9200", help: "OpenSearch, Elasticsearch"},
	{value: "11211", help: "memcached"},
	{value: "27017", help: "MongoDB, DocumentDB"},
}

// profiles returns the profiles of the AWS configuration, each with its region.
func profiles() (list []candidate) {
	found := map[string]string{}
	readProfiles(awsFile("AWS_CONFIG_FILE", "config"), true, found)
	readProfiles(awsFile("AWS_SHARED_CREDENTIALS_FILE", "credentials"), false, found)
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if usable(name) {
			list = append(list, candidate{value: name, help: clean(found[name])})
		}
	}
	return list
}

func awsFile(variable, name string) string {
	if file := os.Getenv(variable); file != "" {
		return file
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".aws", name)
}

// maxAWSFile is the size in bytes of the largest AWS configuration file that is
// read.
const maxAWSFile = 4 << 20

// readProfiles finds the profiles in a file. In the config file the names of
// their sections begin with "profile", except the default one's; other sections
// there are not profiles.
func readProfiles(name string, config bool, found map[string]string) {
	text, err := regular.ReadFile(name, maxAWSFile)
	if err != nil {
		return
	}
	profile, in := "", false
	for line := range bytes.Lines(text) {
		text := strings.TrimRight(string(line), "\r\n")
		if section, ok := strings.CutPrefix(text, "["); ok {
			section, _, _ = strings.Cut(section, "]")
			if profile, in = profileName(section, config); in {
				found[profile] += "" // it exists, even without a region
			}
			continue
		}
		key, value, _ := strings.Cut(text, "=")
		if in && strings.TrimSpace(key) == "region" && text[0] == key[0] {
			found[profile] = strings.TrimSpace(value)
		}
	}
}

func profileName(section string, config bool) (string, bool) {
	name := strings.TrimSpace(section)
	if config && name != "default" {
		rest, ok := strings.CutPrefix(name, "profile")
		if name = strings.TrimSpace(rest); !ok || name == rest {
			return "", false
		}
	}
	name = strings.Trim(name, `"'`)
	return name, name != ""
}
