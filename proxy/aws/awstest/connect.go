package awstest

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// connectService is EC2 Instance Connect.
var connectService = &awsService{name: "ec2-instance-connect", target: "AWSEC2InstanceConnectService", operations: map[string]operation{
	"SendSSHPublicKey": jsonOperation((*Server).sendSSHPublicKey),
}}

// keyLife is how long a pushed key is good where Config does not say.
const keyLife = time.Minute

// pushedKey is a public key for a user on an instance.
type pushedKey struct {
	instance, user string
	key            string // as in authorized_keys, without the comment
	until          time.Time
}

type publicKeyRequest struct {
	InstanceId, InstanceOSUser, SSHPublicKey, AvailabilityZone string
}

type publicKeyResponse struct {
	RequestId string
	Success   bool
}

var (
	connectID   = regexp.MustCompile(`^i-[a-f0-9]+$`)
	connectUser = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9@._-]{0,30}[A-Za-z0-9$_-]?$`)
)

func (s *Server) sendSSHPublicKey(c *apiCall, r *publicKeyRequest) (any, *ssmtest.APIError) {
	s.mu.Lock()
	node := s.current(r.InstanceId)
	s.mu.Unlock()
	if node != nil && node.Region != c.region {
		node = nil
	}
	invalid := func(value, member, constraint string) *ssmtest.APIError {
		return badRequest("InvalidArgsException", "1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: %s", value, member, constraint)
	}
	switch {
	case !connectID.MatchString(r.InstanceId) && (node == nil || !strings.HasPrefix(node.ID, "i-")): // tests have ids of all kinds
		return nil, invalid(r.InstanceId, "instanceId", "Member must satisfy regular expression pattern: "+connectID.String())
	case !connectUser.MatchString(r.InstanceOSUser):
		return nil, invalid(r.InstanceOSUser, "instanceOSUser", "Member must satisfy regular expression pattern: "+connectUser.String())
	case len(r.SSHPublicKey) < 80 || len(r.SSHPublicKey) > 4096:
		return nil, invalid(r.SSHPublicKey, "sSHPublicKey", "Member must have length between 80 and 4096")
	}
	key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(r.SSHPublicKey))
	switch {
	case err != nil || len(options) > 0 || len(strings.TrimSpace(string(rest))) > 0:
		return nil, badRequest("InvalidArgsException", "Invalid input parameter received for Illegal argument exception: SSH Public key is invalid")
	case key.Type() != ssh.KeyAlgoED25519 && key.Type() != ssh.KeyAlgoRSA:
		return nil, badRequest("InvalidArgsException", "Invalid input parameter received for Illegal argument exception: %s - SSH Public key is invalid", key.Type())
	case node == nil || node.State == "terminated":
		return nil, badRequest("EC2InstanceNotFoundException", "No EC2 instance %s found in region %s", r.InstanceId, c.region)
	case r.AvailabilityZone != "" && r.AvailabilityZone != node.Zone:
		return nil, badRequest("EC2InstanceNotFoundException", "No EC2 instance %s found in availability zone %s", r.InstanceId, r.AvailabilityZone)
	case node.State == "pending":
		return nil, refusal(500, "EC2InstanceUnavailableException", "The instance is currently unavailable. Wait a few minutes and try again.")
	case node.State != "running":
		return nil, badRequest("EC2InstanceStateInvalidException",
			"Unable to connect because the instance is not in a valid state. Connecting to a stopped or terminated instance is not supported. "+
				"If the instance is stopped, start your instance, and try to connect again.")
	}
	s.push(pushedKey{instance: node.ID, user: r.InstanceOSUser, key: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))})
	return publicKeyResponse{RequestId: newID(), Success: true}, nil
}

// push keeps a key for its time.
func (s *Server) push(k pushedKey) {
	life := s.cfg.KeyLife
	if life == 0 {
		life = keyLife
	}
	k.until = time.Now().Add(life)
	s.mu.Lock()
	s.keys = append(s.keys, k)
	s.mu.Unlock()
	s.logf("%s: key for %s: %s", k.instance, k.user, k.key)
	s.tellKeys(k)
	s.wg.Go(func() { // the caller is counted, too: the server is not closed
		select {
		case <-time.After(life):
		case <-s.ctx.Done():
			return
		}
		s.mu.Lock()
		s.keys = slices.DeleteFunc(s.keys, func(other pushedKey) bool { return other == k })
		s.mu.Unlock()
		s.tellKeys(k)
	})
}

func (s *Server) tellKeys(k pushedKey) {
	if f := s.onKeys.Load(); f != nil && *f != nil {
		(*f)(k.instance, k.user, s.PublicKeys(k.instance, k.user))
	}
}

// PublicKeys returns the keys that are good for a user on an instance now:
// those that SendSSHPublicKey has brought within the last minute (see
// Config.KeyLife), as in authorized_keys, oldest first. It is what an instance
// of EC2's tells its sshd.
func (s *Server) PublicKeys(instanceID, user string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for _, k := range s.keys {
		if k.instance == instanceID && k.user == user && time.Now().Before(k.until) {
			keys = append(keys, k.key)
		}
	}
	return keys
}

// OnPublicKeys has f told what PublicKeys would return, each time that becomes
// another: before SendSSHPublicKey answers, and when a key's time is over. It is
// called concurrently; nil is off.
func (s *Server) OnPublicKeys(f func(instanceID, user string, keys []string)) { s.onKeys.Store(&f) }
