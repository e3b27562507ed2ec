package sshconfig

import (
	"fmt"
	"slices"
	"strings"
)

// The configuration's text, from top to bottom. ssh uses the first value that it
// finds for a keyword, so special cases come first.

// comment writes lines of comments, without the tabs that indent them in the
// source.
func (c *config) comment(indent, text string) {
	for line := range strings.Lines(strings.Trim(text, "\n\t")) {
		fmt.Fprintln(c, strings.TrimRight(indent+"# "+strings.Trim(line, "\t\n"), " "))
	}
}

// block writes the line that begins a section.
func (c *config) block(line string) { fmt.Fprintf(c, "%s\n", line) }

// set writes one keyword of a section.
func (c *config) set(keyword, value string) { fmt.Fprintf(c, "    %s %s\n", keyword, value) }

// why writes a comment about the keyword that follows.
func (c *config) why(text string) {
	if !c.silent {
		c.comment("    ", text)
	}
}

func (c *config) head() {
	fmt.Fprintln(c, marker+` for ssh. Changes here are lost when this is written again:`)
	c.comment("", "    "+c.again())
	c.comment("", `
		"ssmpipe ssh-config --uninstall" removes it. ssh uses the first value that it
		finds, so your own settings win if they are in ~/.ssh/config above the line
		"`+includeLine+`".`)
}

// again returns the command that rewrites the file. Values that would need quotes,
// such as some profiles, are left to the reader.
func (c *config) again() string {
	words := []string{"ssmpipe ssh-config --install"}
	add := func(set bool, flag, value string) {
		switch {
		case !set:
		case value == "":
			words = append(words, flag)
		case plain.MatchString(value):
			words = append(words, flag+" "+value)
		default:
			words = append(words, flag+" ...")
		}
	}
	add(c.ByName, "--hosts", "")
	profile := c.Profile
	if profile == "" {
		profile = c.HostsProfile
	}
	add(profile != "", "--profile", profile)
	add(c.Region != "", "--region", c.Region)
	add(c.Suffix != "", "--suffix", c.Suffix)
	add(c.User != "", "--user", c.User)
	add(!c.PushKey, "--no-push-key", "")
	add(c.Pick != "", "--pick", c.Pick)
	add(c.Start, "--start", "")
	return strings.Join(words, " ")
}

func (c *config) byName() {
	hosts := nameHosts(c.Hosts, c.Suffix, c.Taken)
	c.block("")
	c.comment("", fmt.Sprintf("Machines by name: %d.", len(hosts)))
	c.comment("", `
		These existed when this was written; stopped ones are included, since they may
		be started later. A machine whose name is not unique is called NAME.ID. Names
		with capitals are listed in lower case, too, since ssh distinguishes case.

		HostName      the id, so that the name need not be looked up
		HostKeyAlias  host keys are kept by id: they follow the machine, not its name
		User          the default user of this platform's images on EC2; --user sets
		              another, and so does "ssh NAME@HOST"
		ProxyCommand  ssmpipe, with the profile and the region to find the machine in`)
	for _, h := range hosts {
		c.block("")
		if h.note != "" {
			c.comment("", h.note)
		}
		c.block("Host " + strings.Join(h.aliases, " "))
		c.set("HostName", h.id)
		c.set("HostKeyAlias", h.id)
		if c.Suffix != "" && !c.Windows {
			c.set("UserKnownHostsFile", "~/.ssh/known_hosts") // otherwise the suffix would set another
		}
		if user := c.userOf(h); user != "" {
			c.set("User", user)
		}
		profile := c.Profile
		if profile == "" {
			profile = c.HostsProfile
		}
		c.set("ProxyCommand", c.command(c.PushKey && !h.managed(), profile, h.region))
		if h.managed() {
			if c.agent && c.Suffix != "" { // otherwise the suffix would set ours, which does not exist
				c.set("IdentityAgent", "SSH_AUTH_SOCK")
			}
			c.nodes = append(c.nodes, h.aliases...)
		} else {
			c.named = append(c.named, h.aliases...)
		}
	}
}

func (c *config) bySuffix() {
	if c.Suffix == "" {
		return
	}
	c.block("")
	c.comment("", `
		ssmpipe looks these up when they are used, without the suffix: a name, an id,
		an address, or anything else that "ssmpipe --help" calls a TARGET.`)
	c.block("Host *" + c.Suffix)
	if c.User != "" {
		c.set("User", c.User)
	}
	c.why(`ssmpipe makes the connection. %h is the host in lower case, %p the port.`)
	more := []string{"--strip-suffix", c.Suffix, "--any-case"}
	if !c.Windows {
		more = append(more, "--host-keys="+hostKeyDir)
	}
	if c.Pick != "" {
		more = append(more, "--pick", c.Pick)
	}
	c.set("ProxyCommand", c.command(c.PushKey, c.Profile, c.Region, more...))
	if !c.Windows {
		c.why(`Host keys are kept per machine: one that replaces another of the same name
			counts as new. ssmpipe makes the host's name a link to its machine's file.`)
		c.set("UserKnownHostsFile", hostKeyDir+"/%h")
	}
}

func (c *config) byID() {
	c.block("")
	c.comment("", "Machines by id: EC2 instances (i-...) and other managed nodes (mi-...).")
	if c.PushKey {
		c.comment("", "The latter have no EC2 Instance Connect, so no key is pushed to them.")
		c.block("Host mi-*")
		c.set("ProxyCommand", c.command(false, c.Profile, c.Region))
		c.block("")
	}
	c.block("Host i-* mi-*")
	if c.User != "" {
		c.set("User", c.User)
	}
	c.why("ssmpipe makes the connection. %h is the host, %p the port.")
	c.set("ProxyCommand", c.command(c.PushKey, c.Profile, c.Region))
}

// settings writes the settings that machines share. They are in Host sections, for
// programs that do not support Match.
func (c *config) settings() {
	patterns := []string{"i-*"}
	if c.Suffix != "" {
		patterns = append(patterns, "*"+c.Suffix)
	}
	if c.PushKey {
		c.block("")
		c.comment("", "You need no key of your own: ssmpipe makes one, and EC2 Instance Connect makes\nit valid for a minute.")
		c.lists(c.named, patterns, c.key)
	}
	c.block("")
	c.comment("", "For all of the above.")
	c.lists(append(slices.Clip(c.named), c.nodes...), append(patterns, "mi-*"), c.shared)
}

// lists writes a Host section for each list of hosts, with the contents that set
// writes. Only the first has comments.
func (c *config) lists(names, patterns []string, set func()) {
	for _, line := range hostLines(names, patterns) {
		if c.silent {
			c.block("")
		}
		c.block(line)
		set()
		c.silent = true
	}
	c.silent = false
}

// shared writes the settings of all machines.
func (c *config) shared() {
	c.why(`A machine's host key is accepted without asking the first time: AWS ensures
		that this is the machine with that id. A key that changes later is refused.`)
	c.set("StrictHostKeyChecking", "accept-new")
	c.why(`ssh sends something every minute, so that a session you leave open does not
		count as idle; and it waits ten minutes for an answer, as long as ssmpipe
		tries to resume after an outage.`)
	c.set("ServerAliveInterval", "60")
	c.set("ServerAliveCountMax", "10")
	switch {
	case c.Windows: // OpenSSH for Windows has no ControlMaster
	case !c.control && c.NoSockets:
		c.why("No ControlMaster: " + socketDir + " cannot be created.")
	case !c.control:
		c.why("No ControlMaster: the path of its socket would be too long here.")
	default:
		c.why(`While one ssh is connected, others to the same machine go through it, at once.
		ControlPersist would keep it open when the first has ended, but is not set,
		because with it ssh discards what ssmpipe prints on stderr.`)
		c.set("ControlMaster", "auto")
		c.set("ControlPath", socketDir+"/%C")
	}
}

// key writes where ssh finds ssmpipe's key.
func (c *config) key() {
	if c.agent {
		c.why(`The key is never in a file: ssmpipe acts as an ssh-agent at this address
			while ssh connects.`)
		c.set("IdentityAgent", socketDir+"/agent")
		c.why(`With "yes", as your own settings may say, ssh would not ask that agent.`)
		c.set("IdentitiesOnly", "no")
		return
	}
	c.why("The key is in a file that only you can read, and is replaced every day.")
	c.set("IdentityFile", "~/.ssh/ssmpipe/key")
	if len(c.Keys) > 0 {
		c.why("If a key is named, ssh does not try the default ones. Yours are:")
	}
	for _, k := range c.Keys {
		c.set("IdentityFile", "~/.ssh/"+k)
	}
}
