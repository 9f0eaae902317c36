//! The page that shows the description.

use http::{Method, StatusCode};

use crate::world::{Answer, World};

async fn fetch(world: &World, path: &str) -> Answer {
    world.open(Method::GET, path).send().await
}

#[tokio::test]
async fn the_page_is_there_with_and_without_a_slash_and_loads_only_what_is_there() {
    let world = World::start().await;
    for path in ["/docs", "/docs/"] {
        let page = fetch(&world, path).await;
        assert_eq!((page.status, page.header("content-type")), (StatusCode::OK, Some("text/html; charset=utf-8")));
        let text = String::from_utf8(page.body.to_vec()).unwrap();
        let links: Vec<_> = ["src=\"", "href=\""].iter().flat_map(|name| text.split(name).skip(1)).collect();
        assert_eq!(links.len(), 5, "{text}");
        for link in links.iter().map(|rest| rest.split('"').next().unwrap()) {
            assert!(link.starts_with('/') && !link.starts_with("//"), "from elsewhere: {link}");
            assert_eq!(fetch(&world, link).await.status, StatusCode::OK, "{link}");
        }
        assert!(!text.contains("http:") && !text.contains("https:"), "{text}");
    }
}

#[tokio::test]
async fn each_file_has_its_type_and_its_version_and_may_load_nothing_from_elsewhere() {
    let world = World::start().await;
    for (path, content_type) in [
        ("/docs", "text/html; charset=utf-8"),
        ("/docs/start.js", "text/javascript"),
        ("/docs/swagger-ui-bundle.js", "text/javascript"),
        ("/docs/swagger-ui.css", "text/css"),
        ("/docs/favicon-32x32.png", "image/png"),
    ] {
        let file = fetch(&world, path).await;
        assert_eq!(file.header("content-type"), Some(content_type), "{path}");
        let policy = file.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'") && !policy.contains("http") && !policy.contains('*'),
            "{policy}"
        );
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(file.header("cache-control"), Some("no-cache"), "{path}");
        let tag = file.header("etag").unwrap().to_owned();
        let same = world.open(Method::GET, path).header("if-none-match", &tag).send().await;
        assert_eq!((same.status, same.body.len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
        let other = world.open(Method::GET, path).header("if-none-match", "\"other\"").send().await;
        assert_eq!(other.body, file.body, "{path}");
    }
}

#[tokio::test]
async fn files_that_the_page_does_not_use_are_not_there() {
    let world = World::start().await;
    for path in ["/docs/index.html", "/docs/..%2Fopenapi.json", "/docs/swagger-ui-standalone-preset.js"] {
        assert_eq!(fetch(&world, path).await.code(), "FLOW-1400-404", "{path}");
    }
}
