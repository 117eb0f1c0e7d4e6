// Swagger UI (swagger-ui-dist 5.35.0, Apache-2.0, unchanged) over this gateway's own description.
SwaggerUIBundle({
  url: "/api/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  docExpansion: "list",
  persistAuthorization: false,
  tryItOutEnabled: true,
  validatorUrl: null,
});
