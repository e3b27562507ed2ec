package awstest

import (
	"encoding/json"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// preferences is the name of the document with an account's preferences.
const preferences = "SSM-SessionManagerRunShell"

type documentRequest struct{ Name, DocumentFormat, DocumentVersion string }

type documentResponse struct {
	Name, Content, DocumentFormat, DocumentType, DocumentVersion, Status string
	CreatedDate                                                          float64
}

// getDocument returns the account's preferences, if it has any.
func (s *Server) getDocument(_ *apiCall, r *documentRequest) (any, *ssmtest.APIError) {
	if r.Name != preferences || s.cfg.Preferences == "" {
		return nil, badRequest("InvalidDocument", "Document with name %s does not exist.", r.Name)
	}
	return documentResponse{
		Name: r.Name, Content: s.cfg.Preferences, DocumentFormat: "JSON", DocumentType: "Session", DocumentVersion: "1", Status: "Active",
		CreatedDate: epoch(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)),
	}, nil
}

// inputs are those of the account's preferences that matter here: how many
// minutes a session may last, the key that shells and commands are encrypted
// with, and what a shell begins with.
type inputs struct {
	MaxSessionDuration string `json:"maxSessionDuration"`
	KMSKeyID           string `json:"kmsKeyId"`
	ShellProfile       struct {
		Linux string `json:"linux"`
	} `json:"shellProfile"`
}

func (s *Server) inputs() inputs {
	var p struct {
		Inputs inputs `json:"inputs"`
	}
	json.Unmarshal([]byte(s.cfg.Preferences), &p)
	return p.Inputs
}
