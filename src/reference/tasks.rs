//! Tasks of eva-os: versioned, and never back once they are deleted. Who wins a mutation is told by
//! the rows that one statement changed.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, named_params};
use serde_json::{Value, json};

use super::config::Config;
use super::ids;
use super::mutation::{Done, Refused, commit};
use super::service::Service;
use super::store::Tx;
use super::time::Timestamp;
use super::web::{Call, Field, Fields, Longest, Most, Refusal, Reply, Row, Shape, handler};

const SERVICE: &str = "eva-os";

/// The routes.
pub fn routes() -> Vec<Row> {
    let one = "/tasks/{id}";
    let mutation =
        |line, action, resource, run| Row::mutation(SERVICE, line, "v4.4", (action, resource), run);
    vec![
        mutation(("POST", "/tasks"), "task.create", "task", handler(create))
            .about("Makes a task; the id of a deleted one is not given again.")
            .takes(&[Field::id("task_id").optional(), NAME, METADATA])
            .gives(201, TASK),
        Row::get(
            SERVICE,
            "/tasks",
            "v4.4",
            handler(|svc, call| async move {
                list(&svc, &call)
                    .await
                    .unwrap_or_else(|refusal| refusal.reply(&call.correlation_id))
            }),
        )
        .about("Tasks in order of creation.")
        .asks(&[
            Field::count("after").optional(),
            Field::new("limit", Shape::Integer(1, Most::Page)).optional(),
        ])
        .gives(
            200,
            &[Field::list("tasks", TASK), Field::count("next").or_null()],
        ),
        Row::get(SERVICE, one, "v4.4", handler(get))
            .about("A task.")
            .gives(200, TASK),
        mutation(("PATCH", one), "task.update", "task/{id}", handler(update))
            .about(
                "Changes a task of the version that is named; any other is told the current one.",
            )
            .takes(&[VERSION, NAME.optional(), METADATA])
            .gives(200, TASK),
        mutation(("DELETE", one), "task.delete", "task/{id}", handler(delete))
            .about("Deletes a task, once and for good.")
            .gives(
                200,
                &[
                    Field::text("task_id"),
                    Field::word("state", &["deleted"]),
                    Field::count("version"),
                ],
            ),
    ]
}

const NAME: Field = Field::new("name", Shape::Text(Longest::Input));
const METADATA: Field = Field::free("metadata").optional();
const VERSION: Field = Field::new("version", Shape::Integer(i64::MIN, Most::Open));

const TASK: &[Field] = &[
    Field::text("task_id"),
    Field::text("name"),
    Field::free("metadata"),
    Field::count("version"),
    Field::text("created_at"),
    Field::text("updated_at"),
];

/// How many are not deleted: the restore stage `tasks`.
///
/// # Errors
/// SQLite's.
pub fn count(conn: &Connection, _: &Config, _: Timestamp) -> rusqlite::Result<i64> {
    conn.prepare_cached("SELECT count(*) FROM tasks WHERE deleted_at_us IS NULL")?
        .query_row([], |row| row.get(0))
}

/// A row of the table.
struct Task {
    seq: i64,
    id: String,
    name: String,
    metadata: Value,
    version: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
    deleted: bool,
}

impl Task {
    /// As the routes show it.
    fn value(&self) -> Value {
        json!({
            "task_id": self.id,
            "name": self.name,
            "metadata": self.metadata,
            "version": self.version,
            "created_at": self.created_at.to_string(),
            "updated_at": self.updated_at.to_string(),
        })
    }
}

async fn create(svc: Arc<Service>, call: Call) -> Reply {
    let fresh = ids::make("tsk_");
    let (config, request) = (svc.config(), call.clone());
    commit(&svc, &call, move |tx| {
        let fields = request.fields()?;
        let id = task_id(&fields, config.limits.id_chars)?.unwrap_or(&fresh);
        let name = fields.text("name", config.limits.input_chars)?;
        let empty = json!({});
        let metadata = fields.optional_object("metadata")?.unwrap_or(&empty);
        let made = tx
            .sql()
            .prepare_cached(
                "INSERT INTO tasks (id, name, metadata, created_at_us, updated_at_us)
                 VALUES (:id, :name, :metadata, :now, :now) ON CONFLICT (id) DO NOTHING",
            )?
            .execute(named_params! {
                ":id": id, ":name": name, ":metadata": metadata.to_string(), ":now": tx.now().us(),
            })?;
        let task = find(tx.sql(), id)?.ok_or_else(|| unknown(id))?;
        match made {
            1 => Ok(Done::new(201, task.value()).on(format!("task/{id}"))),
            _ => Err(taken(&task).into()),
        }
    })
    .await
}

/// The id that the client chose, if it did. It has to stand in a path as it is.
fn task_id<'a>(fields: &Fields<'a>, longest: usize) -> Result<Option<&'a str>, Refusal> {
    let id = fields.optional_text("task_id", longest)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if id.is_some_and(|id| !id.bytes().all(plain)) {
        let message = "task_id: expected letters, digits, _ and -";
        return Err(Refusal::schema(message));
    }
    Ok(id)
}

/// 409 for an id that has a task, or had one.
fn taken(task: &Task) -> Refusal {
    let Task { id, version, .. } = task;
    if task.deleted {
        let message = format!("task {id} was deleted, and its id is not given again");
        return Refusal::conflict("TASK_GONE", message)
            .details(json!({"task_id": id, "version": version}));
    }
    Refusal::conflict("TASK_EXISTS", format!("there is a task {id}"))
        .details(json!({"current": task.value()}))
}

async fn update(svc: Arc<Service>, call: Call) -> Reply {
    let (config, request) = (svc.config(), call.clone());
    commit(&svc, &call, move |tx| {
        let (id, fields) = (request.param("id"), request.fields()?);
        let version = fields
            .optional_integer("version")?
            .ok_or_else(|| Refusal::schema("version: expected a whole number"))?;
        let name = fields.optional_text("name", config.limits.input_chars)?;
        let metadata = fields.optional_object("metadata")?;
        if name.is_none() && metadata.is_none() {
            return Err(Refusal::schema("body: expected name or metadata").into());
        }
        let changed = tx
            .sql()
            .prepare_cached(
                "UPDATE tasks SET version = version + 1, name = coalesce(:name, name),
                 metadata = coalesce(:metadata, metadata), updated_at_us = :now
                 WHERE id = :id AND version = :version AND deleted_at_us IS NULL",
            )?
            .execute(named_params! {
                ":id": id, ":version": version, ":name": name,
                ":metadata": metadata.map(Value::to_string), ":now": tx.now().us(),
            })?;
        let task = live(tx, id)?;
        match changed {
            1 => Ok(Done::new(200, task.value())),
            _ => Err(stale(&task, version).into()),
        }
    })
    .await
}

/// 409 for a version that is not the current one.
fn stale(task: &Task, version: i64) -> Refusal {
    let message = format!(
        "task {} is at version {}, not {version}",
        task.id, task.version
    );
    Refusal::conflict("VERSION_CONFLICT", message).details(json!({"current": task.value()}))
}

async fn delete(svc: Arc<Service>, call: Call) -> Reply {
    let request = call.clone();
    commit(&svc, &call, move |tx| {
        let id = request.param("id");
        let version: Option<i64> = tx
            .sql()
            .prepare_cached(
                "UPDATE tasks SET version = version + 1, updated_at_us = :now, deleted_at_us = :now
                 WHERE id = :id AND deleted_at_us IS NULL RETURNING version",
            )?
            .query_row(named_params! {":id": id, ":now": tx.now().us()}, |row| {
                row.get(0)
            })
            .optional()?;
        let version = version.ok_or_else(|| unknown(id))?;
        Ok::<_, Refused>(Done::new(
            200,
            json!({"task_id": id, "state": "deleted", "version": version}),
        ))
    })
    .await
}

async fn get(svc: Arc<Service>, call: Call) -> Reply {
    let id = call.param("id").to_owned();
    let refusal = match svc.store.read(move |sql| find(sql, &id)).await {
        Ok(Some(task)) if !task.deleted => return Reply::ok(&call.correlation_id, task.value()),
        Ok(_) => unknown(call.param("id")),
        Err(error) => Refusal::store(&error),
    };
    refusal.reply(&call.correlation_id)
}

/// A page in order of creation; `next` is what the next one comes after, null on the last one.
async fn list(svc: &Arc<Service>, call: &Call) -> Result<Reply, Refusal> {
    let page = i64::try_from(svc.config().limits.page_size).unwrap_or(i64::MAX);
    let after = call.query_number("after", 0..=i64::MAX)?.unwrap_or(0);
    let limit = call.query_number("limit", 1..=page)?.unwrap_or(page);
    let read = svc.store.read(move |sql| {
        // One more than asked for tells whether there is a next page.
        sql.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM tasks WHERE deleted_at_us IS NULL AND seq > :after
             ORDER BY seq LIMIT :limit"
        ))?
        .query_map(
            named_params! {":after": after, ":limit": limit.saturating_add(1)},
            read,
        )?
        .collect::<rusqlite::Result<Vec<Task>>>()
    });
    let mut tasks = read.await.map_err(|error| Refusal::store(&error))?;
    let shown = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = tasks.len() > shown;
    tasks.truncate(shown);
    let next = tasks.last().filter(|_| more).map(|task| task.seq);
    let tasks: Vec<Value> = tasks.iter().map(Task::value).collect();
    let body = json!({"tasks": tasks, "next": next});
    Ok(Reply::ok(&call.correlation_id, body))
}

const COLUMNS: &str =
    "seq, id, name, metadata, version, created_at_us, updated_at_us, deleted_at_us";

/// The task of that id, deleted or not.
fn find(sql: &Connection, id: &str) -> rusqlite::Result<Option<Task>> {
    sql.prepare_cached(&format!("SELECT {COLUMNS} FROM tasks WHERE id = ?"))?
        .query_row([id], read)
        .optional()
}

fn read(row: &SqlRow<'_>) -> rusqlite::Result<Task> {
    let metadata: String = row.get("metadata")?;
    Ok(Task {
        seq: row.get("seq")?,
        id: row.get("id")?,
        name: row.get("name")?,
        metadata: serde_json::from_str(&metadata).unwrap_or(Value::Null),
        version: row.get("version")?,
        created_at: Timestamp(row.get("created_at_us")?),
        updated_at: Timestamp(row.get("updated_at_us")?),
        deleted: row.get::<_, Option<i64>>("deleted_at_us")?.is_some(),
    })
}

/// The task of that id, if it is not deleted.
fn live(tx: &Tx<'_>, id: &str) -> Result<Task, Refused> {
    let task = find(tx.sql(), id)?.filter(|task| !task.deleted);
    task.ok_or_else(|| unknown(id).into())
}

/// 404, of a deleted task too.
fn unknown(id: &str) -> Refusal {
    Refusal::not_found("TASK_NOT_FOUND", format!("no task {id}"))
}
