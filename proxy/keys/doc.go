// Package keys provides the keys that ssh logs in with for a minute: an
// ssh-agent whose key exists only in memory ([Agent]), a key in ~/.ssh/ssmpipe
// that is replaced daily ([Made]), and the user's own keys ([FromFile],
// [FromAgent]). It also finds the user that ssh logs in as ([SSHUser]).
//
// It does not push keys to machines. It may import proxy/listen, proxy/private,
// proxy/regular, proxy/lastly and proxy/openssh. Start with [Agent].
package keys
