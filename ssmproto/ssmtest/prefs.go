package ssmtest

import (
	"encoding/json"
	"time"
)

// preferences is the name of the document with an account's preferences.
const preferences = "SSM-SessionManagerRunShell"

type documentRequest struct{ Name, DocumentFormat, DocumentVersion string }

type documentResponse struct {
	Name, Content, DocumentFormat, DocumentType, DocumentVersion, Status string
	CreatedDate                                                          float64
}

// getDocument returns the account's preferences, if it has any.
func (s *Server) getDocument(_ *apiCall, r *documentRequest) (any, *APIError) {
	if r.Name != preferences || s.cfg.Preferences == "" {
		return nil, badRequest("InvalidDocument", "Document with name %s does not exist.", r.Name)
	}
	return documentResponse{
		Name: r.Name, Content: s.cfg.Preferences, DocumentFormat: "JSON", DocumentType: "Session", DocumentVersion: "1", Status: "Active",
		CreatedDate: epoch(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)),
	}, nil
}

// inputs are those of the account's preferences that matter here.
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

// maxSessionDuration is how many minutes a session may last, by the account's
// preferences, or "".
func (s *Server) maxSessionDuration() string { return s.inputs().MaxSessionDuration }

// kmsKeyID is the key that shells and commands are encrypted with, or "".
func (s *Server) kmsKeyID() string { return s.inputs().KMSKeyID }

// shellProfile is what a shell begins with, or "".
func (s *Server) shellProfile() string { return s.inputs().ShellProfile.Linux }
