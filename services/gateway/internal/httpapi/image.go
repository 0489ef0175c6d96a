package httpapi

import "github.com/sandbar-io/sandbar/pkg/sandbox"

func (a *api) registryPrefix(*call) (any, error) {
	return map[string]string{"registry_prefix": a.RegistryPrefix}, nil
}

type imageAnswer struct {
	Exists bool       `json:"exists"`
	Image  *imageInfo `json:"image,omitempty"` // a client needs it where exists is true
}

type imageInfo struct {
	UploadTime string `json:"upload_time"`
	SizeBytes  int64  `json:"image_size_bytes"`
}

func (a *api) imageExists(c *call) (any, error) {
	reference := c.r.URL.Query().Get("image")
	if reference == "" {
		return nil, sandbox.Errorf(sandbox.CodeInvalid, "image is required")
	}
	img, err := a.Images.Find(c.r.Context(), reference)
	if err != nil {
		return nil, err
	}
	if img == nil {
		return imageAnswer{}, nil
	}
	return imageAnswer{Exists: true, Image: &imageInfo{UploadTime: img.UploadTime, SizeBytes: img.Size}}, nil
}
