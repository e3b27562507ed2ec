package ssmtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxSkew is how far a request's date may be from the service's clock.
const maxSkew = 5 * time.Minute

const (
	sigAlgorithm  = "AWS4-HMAC-SHA256"
	sigTimeFormat = "20060102T150405Z"
)

// credentials are the credentials that a request must be signed with.
type credentials struct{ accessKeyID, secret, token string }

// verify checks r's Signature Version 4, in its headers, for service and body.
// It returns nil if the signature is valid.
func (c credentials) verify(r *http.Request, body []byte, region, service string, now time.Time) *APIError {
	authorization := r.Header.Get("Authorization")
	if authorization == "" {
		return &APIError{http.StatusBadRequest, "MissingAuthenticationTokenException", "Missing Authentication Token"}
	}
	fields, ok := parseAuthorization(authorization)
	if !ok {
		return &APIError{http.StatusBadRequest, "IncompleteSignatureException",
			"Authorization header requires 'Credential', 'SignedHeaders' and 'Signature' parameters."}
	}
	scope := strings.Split(fields.credential, "/")
	if len(scope) != 5 {
		return &APIError{http.StatusBadRequest, "IncompleteSignatureException", "Credential must have exactly 5 slash-delimited elements."}
	}
	if scope[0] != c.accessKeyID || r.Header.Get("X-Amz-Security-Token") != c.token {
		return &APIError{http.StatusBadRequest, "UnrecognizedClientException", "The security token included in the request is invalid."}
	}
	invalid := func(format string, args ...any) *APIError {
		return &APIError{http.StatusBadRequest, "InvalidSignatureException", fmt.Sprintf(format, args...)}
	}
	amzDate := r.Header.Get("X-Amz-Date")
	date, err := time.Parse(sigTimeFormat, amzDate)
	if err != nil {
		return invalid("Date in X-Amz-Date is missing or malformed: %q", amzDate)
	}
	const minutes = int(maxSkew / time.Minute)
	if limit := now.Add(-maxSkew); date.Before(limit) {
		return invalid("Signature expired: %s is now earlier than %s (%s - %d min.)",
			amzDate, limit.UTC().Format(sigTimeFormat), now.UTC().Format(sigTimeFormat), minutes)
	}
	if limit := now.Add(maxSkew); date.After(limit) {
		return invalid("Signature not yet current: %s is still later than %s (%s + %d min.)",
			amzDate, limit.UTC().Format(sigTimeFormat), now.UTC().Format(sigTimeFormat), minutes)
	}
	if want := []string{amzDate[:8], region, service, "aws4_request"}; !slices.Equal(scope[1:], want) {
		return invalid("Credential should be scoped to %s, not %s", strings.Join(want, "/"), strings.Join(scope[1:], "/"))
	}
	required := []string{"host", "x-amz-date"}
	if c.token != "" {
		required = append(required, "x-amz-security-token")
	}
	for _, name := range required {
		if !slices.Contains(fields.signedHeaders, name) {
			return invalid("'%s' must be a signed header", name)
		}
	}
	bodyHash := sha256.Sum256(body)
	if claimed := r.Header.Get("X-Amz-Content-Sha256"); claimed != "" && claimed != hex.EncodeToString(bodyHash[:]) {
		return invalid("The body does not match X-Amz-Content-Sha256")
	}
	want := c.signature(r, fields.signedHeaders, strings.Join(scope[1:], "/"), amzDate, bodyHash)
	if subtle.ConstantTimeCompare([]byte(want), []byte(fields.signature)) != 1 {
		return invalid("The request signature we calculated does not match the signature you provided.")
	}
	return nil
}

// sign adds Signature Version 4 to r's headers.
func (c credentials) sign(r *http.Request, body []byte, region, service string, now time.Time) {
	amzDate := now.UTC().Format(sigTimeFormat)
	r.Header.Set("X-Amz-Date", amzDate)
	signed := []string{"host", "x-amz-date"}
	if c.token != "" {
		r.Header.Set("X-Amz-Security-Token", c.token)
		signed = append(signed, "x-amz-security-token")
	}
	if r.Host == "" {
		r.Host = r.URL.Host
	}
	scope := strings.Join([]string{amzDate[:8], region, service, "aws4_request"}, "/")
	r.Header.Set("Authorization", fmt.Sprintf("%s Credential=%s/%s, SignedHeaders=%s, Signature=%s",
		sigAlgorithm, c.accessKeyID, scope, strings.Join(signed, ";"), c.signature(r, signed, scope, amzDate, sha256.Sum256(body))))
}

// signature computes the signature, both to sign a request and to check one.
func (c credentials) signature(r *http.Request, signedHeaders []string, scope, amzDate string, bodyHash [sha256.Size]byte) string {
	request := sha256.Sum256([]byte(canonicalRequest(r, signedHeaders, bodyHash)))
	key := []byte("AWS4" + c.secret)
	for part := range strings.SplitSeq(scope, "/") {
		key = sign(key, part)
	}
	return hex.EncodeToString(sign(key, strings.Join([]string{
		sigAlgorithm, amzDate, scope, hex.EncodeToString(request[:]),
	}, "\n")))
}

func sign(key []byte, data string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(data))
	return h.Sum(nil)
}

type authorizationFields struct {
	credential    string
	signedHeaders []string
	signature     string
}

func parseAuthorization(s string) (f authorizationFields, ok bool) {
	rest, ok := strings.CutPrefix(s, sigAlgorithm+" ")
	if !ok {
		return f, false
	}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "Credential":
			f.credential = value
		case "SignedHeaders":
			f.signedHeaders = strings.Split(value, ";")
		case "Signature":
			f.signature = value
		}
	}
	return f, f.credential != "" && len(f.signedHeaders) > 0 && f.signature != ""
}

// canonicalRequest returns the canonical form of r that is signed. As for all
// services but S3, the path is escaped once more than in the request line.
func canonicalRequest(r *http.Request, signedHeaders []string, bodyHash [sha256.Size]byte) string {
	var b strings.Builder
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	fmt.Fprintf(&b, "%s\n%s\n%s\n", r.Method, escape(path, true), canonicalQuery(r.URL.Query()))
	for _, name := range signedHeaders {
		fmt.Fprintf(&b, "%s:%s\n", name, headerValue(r, name))
	}
	fmt.Fprintf(&b, "\n%s\n%x", strings.Join(signedHeaders, ";"), bodyHash)
	return b.String()
}

// headerValue returns a header's values as they are signed. net/http keeps two
// headers in fields of the request.
func headerValue(r *http.Request, name string) string {
	values := slices.Clone(r.Header.Values(name))
	switch {
	case name == "host":
		values = []string{r.Host}
	case name == "content-length" && len(values) == 0:
		values = []string{strconv.FormatInt(r.ContentLength, 10)}
	}
	for i, v := range values {
		values[i] = strings.Join(strings.Fields(v), " ")
	}
	return strings.Join(values, ",")
}

func canonicalQuery(q url.Values) string {
	var pairs []string
	for name, values := range q {
		for _, v := range values {
			pairs = append(pairs, escape(name, false)+"="+escape(v, false))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// escape percent-encodes all but RFC 3986's unreserved characters.
func escape(s string, keepSlash bool) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '-', c == '_', c == '.', c == '~', c == '/' && keepSlash:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
