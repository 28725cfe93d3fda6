package blob

import (
	"encoding/xml"
	"net/http"
	"strings"
	"time"
)

// code is an error code of the service.
type code string

// The codes that are answered, by the spelling in Microsoft's "Status and
// error codes".
const (
	authenticationFailed       code = "AuthenticationFailed"
	permissionMismatch         code = "AuthorizationPermissionMismatch"
	protocolMismatch           code = "AuthorizationProtocolMismatch"
	resourceTypeMismatch       code = "AuthorizationResourceTypeMismatch"
	serviceMismatch            code = "AuthorizationServiceMismatch"
	sourceIPMismatch           code = "AuthorizationSourceIPMismatch"
	blobAlreadyExists          code = "BlobAlreadyExists"
	blobNotFound               code = "BlobNotFound"
	conditionHeadersNotAllowed code = "ConditionHeadersNotSupported"
	conditionNotMet            code = "ConditionNotMet"
	containerAlreadyExists     code = "ContainerAlreadyExists"
	containerNotFound          code = "ContainerNotFound"
	crc64Mismatch              code = "Crc64Mismatch"
	emptyMetadataKey           code = "EmptyMetadataKey"
	internalError              code = "InternalError"
	invalidAuthentication      code = "InvalidAuthenticationInfo"
	invalidHeaderValue         code = "InvalidHeaderValue"
	invalidInput               code = "InvalidInput"
	invalidMD5                 code = "InvalidMd5"
	invalidMetadata            code = "InvalidMetadata"
	invalidQueryValue          code = "InvalidQueryParameterValue"
	invalidRange               code = "InvalidRange"
	invalidResourceName        code = "InvalidResourceName"
	invalidURI                 code = "InvalidUri"
	leaseNotPresentBlob        code = "LeaseNotPresentWithBlobOperation"
	leaseNotPresentContainer   code = "LeaseNotPresentWithContainerOperation"
	md5Mismatch                code = "Md5Mismatch"
	metadataTooLarge           code = "MetadataTooLarge"
	missingContentLength       code = "MissingContentLengthHeader"
	missingHeader              code = "MissingRequiredHeader"
	multipleConditions         code = "MultipleConditionHeadersNotSupported"
	noAuthentication           code = "NoAuthenticationInformation"
	notImplemented             code = "NotImplemented"
	outOfRangeInput            code = "OutOfRangeInput"
	outOfRangeQuery            code = "OutOfRangeQueryParameterValue"
	publicAccessNotPermitted   code = "PublicAccessNotPermitted"
	requestBodyTooLarge        code = "RequestBodyTooLarge"
	resourceNotFound           code = "ResourceNotFound"
	serverBusy                 code = "ServerBusy"
	unauthorizedOverwrite      code = "UnauthorizedBlobOverwrite"
	unsatisfiableCondition     code = "UnsatisfiableCondition"
	unsupportedHeader          code = "UnsupportedHeader"
	unsupportedQuery           code = "UnsupportedQueryParameter"
	unsupportedVerb            code = "UnsupportedHttpVerb"
)

// answers are the status and the text that belong to each code.
var answers = map[code]struct {
	status int
	text   string
}{
	authenticationFailed:       {http.StatusForbidden, "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature."},
	permissionMismatch:         {http.StatusForbidden, "This request is not authorized to perform this operation using this permission."},
	protocolMismatch:           {http.StatusForbidden, "This request is not authorized to perform this operation using this protocol."},
	resourceTypeMismatch:       {http.StatusForbidden, "This request is not authorized to perform this operation using this resource type."},
	serviceMismatch:            {http.StatusForbidden, "This request is not authorized to perform this operation using this service."},
	sourceIPMismatch:           {http.StatusForbidden, "This request is not authorized to perform this operation using this source IP."},
	blobAlreadyExists:          {http.StatusConflict, "The specified blob already exists."},
	blobNotFound:               {http.StatusNotFound, "The specified blob does not exist."},
	conditionHeadersNotAllowed: {http.StatusBadRequest, "Condition headers are not supported."},
	conditionNotMet:            {http.StatusPreconditionFailed, "The condition specified using HTTP conditional header(s) is not met."},
	containerAlreadyExists:     {http.StatusConflict, "The specified container already exists."},
	containerNotFound:          {http.StatusNotFound, "The specified container does not exist."},
	crc64Mismatch:              {http.StatusBadRequest, "The CRC64 value specified in the request did not match with the CRC64 value calculated by the server."},
	emptyMetadataKey:           {http.StatusBadRequest, "The key for one of the metadata key-value pairs is empty."},
	internalError:              {http.StatusInternalServerError, "The server encountered an internal error. Please retry the request."},
	invalidAuthentication:      {http.StatusBadRequest, "The authentication information was not provided in the correct format. Verify the value of Authorization header."},
	invalidHeaderValue:         {http.StatusBadRequest, "The value for one of the HTTP headers is not in the correct format."},
	invalidInput:               {http.StatusBadRequest, "One of the request inputs is not valid."},
	invalidMD5:                 {http.StatusBadRequest, "The MD5 value specified in the request is invalid. The MD5 value must be 128 bits and Base64-encoded."},
	invalidMetadata:            {http.StatusBadRequest, "The metadata specified is invalid. It has characters that are not permitted."},
	invalidQueryValue:          {http.StatusBadRequest, "Value for one of the query parameters specified in the request URI is invalid."},
	invalidRange:               {http.StatusRequestedRangeNotSatisfiable, "The range specified is invalid for the current size of the resource."},
	invalidResourceName:        {http.StatusBadRequest, "The specified resource name contains invalid characters."},
	invalidURI:                 {http.StatusBadRequest, "The requested URI does not represent any resource on the server."},
	leaseNotPresentBlob:        {http.StatusPreconditionFailed, "There is currently no lease on the blob."},
	leaseNotPresentContainer:   {http.StatusPreconditionFailed, "There is currently no lease on the container."},
	md5Mismatch:                {http.StatusBadRequest, "The MD5 value specified in the request did not match with the MD5 value calculated by the server."},
	metadataTooLarge:           {http.StatusBadRequest, "The size of the specified metadata exceeds the maximum size permitted."},
	missingContentLength:       {http.StatusLengthRequired, "Content-Length header is mandatory for this request."},
	missingHeader:              {http.StatusBadRequest, "An HTTP header that's mandatory for this request is not specified."},
	multipleConditions:         {http.StatusBadRequest, "Multiple condition headers are not supported."},
	noAuthentication:           {http.StatusUnauthorized, "Server failed to authenticate the request. Please refer to the information in the www-authenticate header."},
	notImplemented:             {http.StatusNotImplemented, "The requested operation is not implemented on the specified resource. This endpoint serves what checkpoint stores use."},
	outOfRangeInput:            {http.StatusBadRequest, "One of the request inputs is out of range."},
	outOfRangeQuery:            {http.StatusBadRequest, "One of the query parameters specified in the request URI is outside the permissible range."},
	publicAccessNotPermitted:   {http.StatusConflict, "Public access is not permitted on this storage account."},
	requestBodyTooLarge:        {http.StatusRequestEntityTooLarge, "The request body is too large and exceeds the maximum permissible limit."},
	resourceNotFound:           {http.StatusNotFound, "The specified resource does not exist."},
	serverBusy:                 {http.StatusServiceUnavailable, "The server is busy."},
	unauthorizedOverwrite:      {http.StatusForbidden, "This request is not authorized to perform blob overwrites."},
	unsatisfiableCondition:     {http.StatusBadRequest, "The request includes an unsatisfiable condition for this operation."},
	unsupportedHeader:          {http.StatusBadRequest, "One of the HTTP headers specified in the request is not supported."},
	unsupportedQuery:           {http.StatusBadRequest, "One of the query parameters specified in the request URI is not supported."},
	unsupportedVerb:            {http.StatusMethodNotAllowed, "The resource doesn't support specified Http Verb."},
}

// serviceError is an answer other than success.
type serviceError struct {
	code   code
	status int
	text   string
	// details are names and values in turn, elements beside Code and Message.
	details []string
	// headers are set on the answer.
	headers map[string]string
}

// refuse makes the answer of a code. details are names and values in turn.
func refuse(c code, details ...string) *serviceError {
	return &serviceError{code: c, status: answers[c].status, text: answers[c].text, details: details}
}

// nameLength is the answer to a name that is too short or too long.
func nameLength() *serviceError {
	e := refuse(outOfRangeInput)
	e.text = "The specified resource name length is not within the permissible limits."
	return e
}

// with sets a header of the answer.
func (e *serviceError) with(header, value string) *serviceError {
	e.headers = map[string]string{header: value}
	return e
}

// Error returns the code with what belongs to it.
func (e *serviceError) Error() string {
	return string(e.code) + " " + strings.Join(e.details, " ")
}

// notModified is the answer to a read of what the client has already.
func notModified() *serviceError {
	return &serviceError{code: conditionNotMet, status: http.StatusNotModified}
}

// fail answers with an error.
func (c *call) fail(e *serviceError) {
	h := c.w.Header()
	h.Set("x-ms-error-code", string(e.code))
	for name, value := range e.headers {
		h.Set(name, value)
	}
	if e.status == http.StatusNotModified || c.r.Method == http.MethodHead {
		c.w.WriteHeader(e.status)
		return
	}
	var b strings.Builder
	b.WriteString(xml.Header[:len(xml.Header)-1])
	b.WriteString("<Error>")
	element(&b, "Code", string(e.code))
	// Clients show the message to people: the service puts both facts into it.
	element(&b, "Message", e.text+"\nRequestId:"+c.id+"\nTime:"+c.account.now().UTC().Format("2006-01-02T15:04:05.0000000Z"))
	for i := 0; i+1 < len(e.details); i += 2 {
		element(&b, e.details[i], e.details[i+1])
	}
	b.WriteString("</Error>")
	h.Set("Content-Type", "application/xml")
	c.w.WriteHeader(e.status)
	_, _ = c.w.Write([]byte(b.String()))
}

// element writes an element with a text.
func element(b *strings.Builder, name, text string) {
	var escaped strings.Builder
	_ = xml.EscapeText(&escaped, []byte(text)) // a Builder takes everything
	// What need not be escaped in a text is not: people read it as it is.
	plain := strings.NewReplacer("&#xA;", "\n", "&#39;", "'", "&#34;", "\"")
	b.WriteString("<" + name + ">" + plain.Replace(escaped.String()) + "</" + name + ">")
}

// httpDate writes a time as HTTP does.
func httpDate(t time.Time) string { return t.UTC().Format(http.TimeFormat) }
