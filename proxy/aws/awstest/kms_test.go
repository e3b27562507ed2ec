//go:build unix

package awstest

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

const testKey = "arn:aws:kms:us-east-1:123456789012:key/00000000-1111-2222-3333-444444444444"

// TestSessionsAreEncryptedWithTheAccountsKey: with a data key that KMS makes for
// the session, and no other.
func TestSessionsAreEncryptedWithTheAccountsKey(t *testing.T) {
	const invalid = "Fetching data key failed: Unable to retrieve data key, Error when decrypting data key InvalidCiphertextException: "
	for _, test := range []struct {
		name   string
		change func(s *Server, encryptionContext map[string]string)
		reason string // why the session ends; "" is that it does not
	}{
		{name: "good"},
		{"the challenge is not in it", func(_ *Server, c map[string]string) { delete(c, "aws:ssm:RandomChallenge") }, invalid},
		{"it is another session's", func(_ *Server, c map[string]string) { c["aws:ssm:SessionId"] = "other" }, invalid},
		{"it is for another node", func(_ *Server, c map[string]string) { c["aws:ssm:TargetId"] = id(2) }, invalid},
		{"the agent may not decrypt it", func(s *Server, _ map[string]string) { s.DenyActions("kms:Decrypt") },
			"Fetching data key failed: Unable to retrieve data key, Error when decrypting data key AccessDeniedException: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := nodeServer(t, Config{
				Config:      ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true}},
				Preferences: fmt.Sprintf(`{"inputs":{"kmsKeyId":%q}}`, testKey),
			}, Node{ID: id(1), Node: ssmtest.Node{Command: bareShell}})
			dataKey := func(ctx context.Context, keyID, challenge string) (plain, sealed []byte, err error) {
				encryptionContext := map[string]string{
					"aws:ssm:SessionId": s.Sessions()[0].ID(), "aws:ssm:TargetId": id(1), "aws:ssm:RandomChallenge": challenge,
				}
				if test.change != nil {
					test.change(s, encryptionContext)
				}
				key, err := kms.NewFromConfig(sdk(s, "us-east-1")).GenerateDataKey(ctx, &kms.GenerateDataKeyInput{
					KeyId: &keyID, NumberOfBytes: aws.Int32(64), EncryptionContext: encryptionContext,
				})
				if err != nil {
					return nil, nil, err
				}
				if *key.KeyId != testKey || len(key.Plaintext) != 64 {
					t.Errorf("KMS answers %s with %d bytes", *key.KeyId, len(key.Plaintext))
				}
				return key.Plaintext, key.CiphertextBlob, nil
			}
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			defer cancel()
			client := s.NewDocumentClient(id(1), "AWS-StartNonInteractiveCommand", map[string][]string{"command": {"echo hello"}})
			conn, err := ssmproto.Dial(ctx, client, &ssmproto.Config{Transport: s.Transport(), DataKey: dataKey})
			if test.reason != "" {
				if err == nil || !strings.Contains(err.Error(), test.reason) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(wait))
			if got, err := io.ReadAll(conn); string(got) != "hello\n" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestGenerateDataKeyIsDenied(t *testing.T) {
	s := nodeServer(t, Config{})
	s.DenyActions("kms:GenerateDataKey")
	_, err := kms.NewFromConfig(sdk(s, "us-east-1")).GenerateDataKey(t.Context(), &kms.GenerateDataKeyInput{KeyId: aws.String("alias/x"), KeySpec: "AES_256"})
	if message := refused(t, "denied", err, "AccessDeniedException", 400); !strings.Contains(message, "kms:GenerateDataKey on resource: arn:aws:kms:us-east-1:123456789012:alias/x") {
		t.Errorf("it says %q", message)
	}
}
