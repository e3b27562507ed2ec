package awstest

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"
	"golang.org/x/crypto/ssh"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// authorized is a public key as in authorized_keys.
func authorized(t *testing.T, public any, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

func newKey(t *testing.T) string {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	return authorized(t, public, err)
}

func pushTo(t *testing.T, s *Server, region, id, user, key string) error {
	t.Helper()
	_, err := ec2instanceconnect.NewFromConfig(sdk(s, region)).SendSSHPublicKey(t.Context(), &ec2instanceconnect.SendSSHPublicKeyInput{
		InstanceId: &id, InstanceOSUser: &user, SSHPublicKey: &key,
	})
	return err
}

func TestPushedKeysAreGoodForAWhile(t *testing.T) {
	const life = 100 * time.Millisecond
	s := nodeServer(t, Config{KeyLife: life}, Node{ID: id(1)})
	told := make(chan []string, 10)
	s.OnPublicKeys(func(instance, user string, keys []string) {
		if instance == id(1) && user == "ec2-user" {
			told <- keys
		}
	})
	one, two := newKey(t), newKey(t)
	if err := pushTo(t, s, "us-east-1", id(1), "ec2-user", one+" a comment"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := pushTo(t, s, "us-east-1", id(1), "root", two); err != nil {
		t.Fatal(err)
	}
	if got := <-told; !slices.Equal(got, []string{one}) {
		t.Errorf("told of %q", got)
	}
	if got := <-told; len(got) != 0 || time.Since(began) > wait {
		t.Errorf("in the end %q are left", got)
	}
	eventually(t, "both are gone", func() bool {
		return len(s.PublicKeys(id(1), "ec2-user"))+len(s.PublicKeys(id(1), "root")) == 0
	})
}

func TestPushedKeysAreOneUsersOnOneInstance(t *testing.T) {
	s := nodeServer(t, Config{}, Node{ID: id(1)}, Node{ID: id(2)})
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	one, two := newKey(t), authorized(t, rsaKey.Public(), nil)
	for _, key := range []string{one, two} {
		if err := pushTo(t, s, "us-east-1", id(1), "ec2-user", key); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.PublicKeys(id(1), "ec2-user"); !slices.Equal(got, []string{one, two}) {
		t.Errorf("got %q", got)
	}
	if got := append(s.PublicKeys(id(2), "ec2-user"), s.PublicKeys(id(1), "root")...); len(got) != 0 {
		t.Errorf("others have %q", got)
	}
}

func TestSendSSHPublicKeyRefuses(t *testing.T) {
	s := nodeServer(t, Config{Config: ssmtest.Config{Regions: []string{"eu-west-1"}}}, Node{ID: id(1)}, Node{ID: id(2), State: "stopped"}, Node{ID: id(3), State: "pending"},
		Node{ID: "mi-0123456789abcdef0"}, Node{ID: id(4), Region: "eu-west-1"})
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := newKey(t)
	for _, test := range []struct{ what, id, user, key, code string }{
		{"a managed node", "mi-0123456789abcdef0", "root", good, "InvalidArgsException"},
		{"a name", "web", "root", good, "InvalidArgsException"},
		{"a user", id(1), "a b", good, "InvalidArgsException"},
		{"an ECDSA key", id(1), "root", authorized(t, ec.Public(), nil), "InvalidArgsException"},
		{"no key", id(1), "root", strings.Repeat("x", 80), "InvalidArgsException"},
		{"a short key", id(1), "root", "ssh-ed25519 AAAA", "InvalidArgsException"},
		{"two keys", id(1), "root", good + "\n" + good, "InvalidArgsException"},
		{"a key with options", id(1), "root", `command="x" ` + good, "InvalidArgsException"},
		{"what there is not", id(9), "root", good, "EC2InstanceNotFoundException"},
		{"another region's", id(4), "root", good, "EC2InstanceNotFoundException"},
		{"a stopped one", id(2), "root", good, "EC2InstanceStateInvalidException"},
		{"one that boots", id(3), "root", good, "EC2InstanceUnavailableException"},
	} {
		refused(t, test.what, pushTo(t, s, "us-east-1", test.id, test.user, test.key), test.code, 0)
	}
	_, err = ec2instanceconnect.NewFromConfig(sdk(s, "us-east-1")).SendSSHPublicKey(t.Context(), &ec2instanceconnect.SendSSHPublicKeyInput{
		InstanceId: aws.String(id(1)), InstanceOSUser: aws.String("root"), SSHPublicKey: &good, AvailabilityZone: aws.String("us-east-1b"),
	})
	refused(t, "another zone", err, "EC2InstanceNotFoundException", 400)
	s.DenyActions("ec2-instance-connect:SendSSHPublicKey")
	got := refused(t, "not allowed", pushTo(t, s, "us-east-1", id(1), "root", good), "AccessDeniedException", 400)
	if !strings.Contains(got, "ec2-instance-connect:SendSSHPublicKey on resource: arn:aws:ec2:us-east-1:123456789012:instance/"+id(1)+" ") {
		t.Errorf("not allowed: %q", got)
	}
	s.OnAPI(Throttling)
	refused(t, "too often", pushTo(t, s, "us-east-1", id(1), "root", good), "ThrottlingException", 400)
	if got := s.PublicKeys(id(1), "root"); len(got) != 0 {
		t.Errorf("%q are good all the same", got)
	}
}
