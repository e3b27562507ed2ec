package sshconfig

import "strings"

// users lists the default users of EC2 images, by the prefix of the platform's name
// as the SSM agent or EC2 reports it.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/managing-users.html and
// the distributions' own pages.
var users = []struct{ platform, user string }{
	{"ubuntu", "ubuntu"},
	{"debian", "admin"},
	{"amazon linux", "ec2-user"},
	{"red hat", "ec2-user"},
	{"rhel", "ec2-user"},
	{"suse", "ec2-user"},
	{"sles", "ec2-user"},
	{"opensuse", "ec2-user"},
	{"oracle linux", "ec2-user"},
	{"almalinux", "ec2-user"},
	{"bottlerocket", "ec2-user"},
	{"freebsd", "ec2-user"},
	{"macos", "ec2-user"},
	{"centos stream", "ec2-user"},
	{"centos", "centos"},
	{"rocky", "rocky"},
	{"fedora", "fedora"},
	{"kali", "kali"},
	{"windows", "Administrator"},
	{"microsoft windows", "Administrator"},
}

// userOf returns the user to log in as on h; "" leaves it to ssh. The users of
// nodes outside EC2 are not known.
func (c *config) userOf(h host) string {
	if c.User != "" || h.managed() {
		return c.User
	}
	platform := strings.ToLower(h.platform)
	for _, u := range users {
		if strings.HasPrefix(platform, u.platform) {
			return u.user
		}
	}
	return ""
}
