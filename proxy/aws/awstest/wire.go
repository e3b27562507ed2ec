package awstest

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// xmlError is what is refused, in both of the forms that hold it.
type xmlError struct {
	Type    string `xml:"Type,omitempty"`
	Code    string
	Message string
}

// writeXML answers as services with forms do: EC2 in its way, the others in
// another.
func (v *awsService) writeXML(w http.ResponseWriter, operation string, result any, refusal *ssmtest.APIError) {
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	id := w.Header().Get("X-Amzn-Requestid")
	start := xml.StartElement{
		Name: xml.Name{Local: operation + "Response"},
		Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: v.namespace()}},
	}
	switch {
	case refusal == nil:
	case v.name == "ec2":
		start = xml.StartElement{Name: xml.Name{Local: "Response"}}
		result = struct {
			Error     xmlError `xml:"Errors>Error"`
			RequestID string
		}{xmlError{Code: refusal.Code, Message: refusal.Message}, id}
	default:
		start.Name.Local = "ErrorResponse"
		fault := "Sender"
		if refusal.Status >= 500 {
			fault = "Receiver"
		}
		result = struct {
			Error     xmlError
			RequestID string `xml:"RequestId"`
		}{xmlError{fault, refusal.Code, refusal.Message}, id}
	}
	body := bytes.NewBufferString(xml.Header)
	xml.NewEncoder(body).EncodeElement(result, start)
	if refusal != nil {
		w.WriteHeader(refusal.Status)
	}
	w.Write(body.Bytes())
}

func (v *awsService) namespace() string {
	host := v.name + ".amazonaws.com"
	scheme := "https"
	if v.name == "ec2" {
		scheme = "http"
	}
	return scheme + "://" + host + "/doc/" + v.version + "/"
}

// unauthenticated is what verify says, in the service's own words: it speaks as
// the services with JSON do.
func (v *awsService) unauthenticated(err *ssmtest.APIError) *ssmtest.APIError {
	if v.name == "ec2" && strings.HasPrefix(err.Message, "Signature expired") {
		return badRequest("RequestExpired", "Request has expired.")
	}
	other := map[string]*ssmtest.APIError{
		"ec2 MissingAuthenticationTokenException": refusal(http.StatusUnauthorized, "AuthFailure", "Not authenticated"),
		"ec2 UnrecognizedClientException":         refusal(http.StatusUnauthorized, "AuthFailure", "AWS was not able to validate the provided access credentials"),
		"ec2 InvalidSignatureException":           refusal(http.StatusUnauthorized, "AuthFailure", "AWS was not able to validate the provided access credentials"),
		"sts MissingAuthenticationTokenException": refusal(http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token"),
		"sts IncompleteSignatureException":        refusal(http.StatusBadRequest, "IncompleteSignature", err.Message),
		"sts UnrecognizedClientException":         refusal(http.StatusForbidden, "InvalidClientTokenId", err.Message),
		"sts InvalidSignatureException":           refusal(http.StatusForbidden, "SignatureDoesNotMatch", err.Message),
	}[v.name+" "+err.Code]
	if other == nil {
		return err
	}
	return other
}

// unknown refuses an operation that there is not.
func (v *awsService) unknown(name string) *ssmtest.APIError {
	if v.version != "" {
		return badRequest("InvalidAction", "The action %s is not valid for this web service.", name)
	}
	return badRequest("UnknownOperationException", "")
}

// unauthorized refuses an action that no policy allows.
func (v *awsService) unauthorized(action, resource string) *ssmtest.APIError {
	if v.name == "ec2" {
		message := fmt.Sprintf("You are not authorized to perform this operation. User: %s is not authorized to perform: %s", callerARN, action)
		if resource != "" {
			message += " on resource: " + resource
		}
		message += fmt.Sprintf(" because no identity-based policy allows the %s action", action)
		if resource != "" { // what only reads says less
			message += ". Encoded authorization failure message: " + encodedMessage
		}
		return refusal(http.StatusForbidden, "UnauthorizedOperation", message)
	}
	return badRequest("AccessDeniedException", "User: %s is not authorized to perform: %s on resource: %s because no identity-based policy allows the %s action",
		callerARN, action, resource, action)
}

// encodedMessage stands for what EC2 says in a form that only
// sts:DecodeAuthorizationMessage can read.
const encodedMessage = "4GIOHlTkIaWHQD0Q0m6XSnuUMCm-abcdefghijklmnopqrstuvwxyz-0123456789_ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// Throttling is how the service of an operation refuses a call that is one too
// many, for [ssmtest.Server.OnAPI].
func Throttling(operation string) *ssmtest.APIError {
	switch {
	case ec2Service.operations[operation] != nil:
		return refusal(http.StatusServiceUnavailable, "RequestLimitExceeded", "Request limit exceeded.")
	case stsService.operations[operation] != nil:
		return badRequest("Throttling", "Rate exceeded")
	default:
		return badRequest("ThrottlingException", "Rate exceeded")
	}
}
