// Shows the description of this server. The validator is a service elsewhere: it is not asked.
window.onload = () => {
  SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#viewer",
    deepLinking: true,
    docExpansion: "none",
    filter: true,
    defaultModelsExpandDepth: 0,
    validatorUrl: null,
  });
};
