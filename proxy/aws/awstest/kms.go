package awstest

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"maps"
	"strings"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// kmsService is the Key Management Service. It has every key that it is asked
// for.
var kmsService = &awsService{name: "kms", target: "TrentService", operations: map[string]operation{
	"GenerateDataKey": jsonOperation((*Server).generateDataKey),
}}

type dataKeyRequest struct {
	KeyId             string
	KeySpec           string
	NumberOfBytes     int
	EncryptionContext map[string]string
}

type dataKeyResponse struct {
	CiphertextBlob, Plaintext []byte
	KeyId                     string
}

// dataKey is one that was generated.
type dataKey struct {
	keyARN            string
	sealed, plain     []byte
	encryptionContext map[string]string
}

// keyARN is the ARN of a key that is named by an ARN, an id or an alias.
func keyARN(region, id string) string {
	if strings.HasPrefix(id, "arn:") {
		return id
	}
	if !strings.HasPrefix(id, "alias/") {
		id = "key/" + id
	}
	return fmt.Sprintf("arn:aws:kms:%s:%s:%s", region, accountID, id)
}

func (s *Server) generateDataKey(c *apiCall, r *dataKeyRequest) (any, *ssmtest.APIError) {
	n := r.NumberOfBytes
	switch {
	case r.KeySpec == "AES_128" && n == 0:
		n = 16
	case r.KeySpec == "AES_256" && n == 0:
		n = 32
	}
	switch {
	case r.KeyId == "":
		return nil, badRequest("ValidationException", "1 validation error detected: Value at 'keyId' failed to satisfy constraint: Member must not be null")
	case n < 1 || n > 1024 || r.KeySpec != "" && r.NumberOfBytes != 0:
		return nil, badRequest("ValidationException", "Please specify either number of bytes or key spec.")
	}
	key := dataKey{
		keyARN: keyARN(c.region, r.KeyId), sealed: make([]byte, n+120), plain: make([]byte, n), encryptionContext: r.EncryptionContext,
	}
	rand.Read(key.sealed) // it tells nobody anything but this server, which remembers it
	rand.Read(key.plain)
	s.mu.Lock()
	s.dataKeys = append(s.dataKeys, key)
	s.mu.Unlock()
	return dataKeyResponse{key.sealed, key.plain, key.keyARN}, nil
}

// decrypt is KMS's Decrypt, which an agent calls by its own leave:
// [Server.DenyActions] takes that, too, with kms:Decrypt.
func (s *Server) decrypt(sealed []byte, keyID string, encryptionContext map[string]string) ([]byte, error) {
	if s.denies("kms:Decrypt") {
		return nil, badRequest("AccessDeniedException",
			"User: arn:aws:sts::%s:assumed-role/ssmtest is not authorized to perform: kms:Decrypt because no identity-based policy allows the kms:Decrypt action", accountID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range s.dataKeys {
		if bytes.Equal(key.sealed, sealed) && maps.Equal(key.encryptionContext, encryptionContext) {
			if region := strings.Split(key.keyARN, ":")[3]; key.keyARN != keyARN(region, keyID) {
				return nil, badRequest("IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation.")
			}
			return key.plain, nil
		}
	}
	return nil, badRequest("InvalidCiphertextException", "")
}
