package proxy

var Classify = classify
