package sshconfig

import "strings"

// users are whom images on EC2 come with, by the beginning of the platform's
// name as the SSM agent or EC2 has it.
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

// userOf is whom to log in as on h; "" leaves it to ssh. Nobody knows what
// users there are outside EC2.
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
