// Package keys has what ssh logs in with for a minute: an ssh-agent whose key
// exists in memory only ([Agent]), a key in ~/.ssh/ssmpipe that is replaced daily
// ([Made]), and the user's own ([FromFile], [FromAgent]). It also knows the user
// that ssh logs in as ([SSHUser]).
//
// How the machine comes to know the key is not its business. It may use
// proxy/listen, proxy/private, proxy/regular, proxy/lastly and proxy/openssh.
// Begin with [Agent].
package keys
