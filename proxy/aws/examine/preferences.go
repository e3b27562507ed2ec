package examine

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
)

// sessionPreferences are the preferences of an account, in the document's format.
type sessionPreferences struct {
	SessionType string `json:"sessionType"`
	Inputs      struct {
		S3Bucket    string `json:"s3BucketName"`
		LogGroup    string `json:"cloudWatchLogGroupName"`
		KMSKey      string `json:"kmsKeyId"`
		RunAs       any    `json:"runAsEnabled"` // true, or "true" from templates
		RunAsUser   string `json:"runAsDefaultUser"`
		IdleTimeout any    `json:"idleSessionTimeout"` // minutes, "20" or 20
		MaxDuration any    `json:"maxSessionDuration"`
	} `json:"inputs"`
}

// defaultIdleTimeout is AWS's, in minutes.
const defaultIdleTimeout = 20

// preferences reports the account's preferences and what they mean for ssh.
func (e *examination) preferences(ctx context.Context) driver.Finding {
	if e.document == nil {
		return ok("none set: sessions end after %d min idle, and are neither encrypted with KMS nor logged", defaultIdleTimeout)
	}
	var p sessionPreferences
	if err := json.Unmarshal([]byte(*e.document), &p); err != nil {
		return e.bad(driver.StatusWarning, fmt.Errorf("the document %s cannot be read: %w", preferencesDocument, err), "")
	}
	in := p.Inputs
	idle := minutes(in.IdleTimeout)
	if idle == 0 {
		idle = defaultIdleTimeout
	}
	facts := []string{fmt.Sprintf("sessions end after %d min idle, which ServerAliveInterval 60 prevents", idle)}
	f := ok("")
	if idle <= 1 {
		facts[0] = "sessions end after 1 min idle"
		f.Status = driver.StatusWarning
		f.Remedy = "set ServerAliveInterval 30 in the ssh configuration"
	}
	if limit := minutes(in.MaxDuration); limit > 0 {
		facts = append(facts, fmt.Sprintf("and after %d min in any case", limit))
	}
	if in.KMSKey == "" {
		facts = append(facts, "no KMS key")
	} else {
		facts = append(facts, fmt.Sprintf("KMS key %s, for shells (which need kms:GenerateDataKey) but not for ssh, which does its own encryption", in.KMSKey))
		probe := e.startProbe(ctx, "kms", kmsEndpoint(ctx, e.cfg))
		probe.wait(ctx)
		if way := probe.finding(); way.Status == driver.StatusFailed {
			f.Status, f.Remedy = driver.StatusWarning, way.Remedy
			facts = append(facts, "the KMS endpoint cannot be reached: "+way.Detail)
		}
	}
	if fmt.Sprint(in.RunAs) == "true" {
		facts = append(facts, strings.TrimSpace("shells run as "+in.RunAsUser)+"; ssh logs in as the user that you name")
	}
	if logs := strings.Trim(in.S3Bucket+" "+in.LogGroup, " "); logs != "" {
		facts = append(facts, fmt.Sprintf("shells are logged to %s; for ssh, AWS records only that there was a session", logs))
	}
	f.Detail = strings.Join(facts, "; ")
	return f
}

// minutes parses a value that is a string in AWS's documents and a number in
// others.
func minutes(v any) int {
	n, _ := strconv.Atoi(fmt.Sprint(v))
	return n
}
