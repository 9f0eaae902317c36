//! Reads a result set off the socket, one connection, nothing decoded: the floor that `headwaters copy` is measured
//! against (docs/benchmarks.md).
//!
//! ```text
//! HEADWATERS_SOURCE_PASSWORD=… cargo run --release -p headwaters-source --example bare_read -- \
//!     mysql://bench@127.0.0.1/tpch 'select * from lineitem'
//! ```

use std::time::Instant;

use headwaters_model::secret::Secret;
use headwaters_source::mysql::dsn;
use headwaters_source::mysql::wire::Connection;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example prints what it measured")]
#[expect(clippy::disallowed_methods, reason = "an example has no configuration to read the password from")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(source), Some(sql)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: bare_read SOURCE SQL");
    };
    let password = std::env::var("HEADWATERS_SOURCE_PASSWORD").ok().map(Secret::new);
    let (access, _) = dsn::access_from_text(&source, password)?;
    let mut connection = Connection::connect(&dsn::parameters(&access)?.connect).await?;
    let statement = connection.prepare(&sql).await?;

    let start = Instant::now();
    let mut rows = connection.stream(&statement, &[]).await?;
    let mut count = 0_u64;
    while rows.fill().await? {
        while rows.next_buffered()?.is_some() {
            count += 1;
        }
    }
    let bytes = rows.bytes_read();
    println!("{count} rows, {bytes} bytes, {:.2} s", start.elapsed().as_secs_f64());
    Ok(())
}
