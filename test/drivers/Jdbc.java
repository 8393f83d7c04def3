// JDBC: strings are declared varchar, numbers by their type; objects of type OTHER travel without a type.
import java.sql.*;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.*;

public class Jdbc
{
	static Connection db;
	static final String ADA = "email:ada@jdbc.example";

	interface Test
	{
		void run() throws Exception;
	}

	static void point(String name, Test test)
	{
		try
		{
			test.run();
			System.out.println("ok - " + name);
		}
		catch (Throwable e)
		{
			System.out.println("not ok - " + name);
			System.out.println("  " + e);
		}
	}

	static PreparedStatement prepare(String sql, Object... values) throws SQLException
	{
		PreparedStatement s = db.prepareStatement(sql);
		for (int i = 0; i < values.length; i++)
			s.setObject(i + 1, values[i]);
		return s;
	}

	static Object value(String sql, Object... values) throws SQLException
	{
		try (PreparedStatement s = prepare(sql, values); ResultSet r = s.executeQuery())
		{
			r.next();
			return r.getObject(1);
		}
	}

	static SQLException failure(String sql, Object... values) throws SQLException
	{
		try
		{
			value(sql, values);
		}
		catch (SQLException e)
		{
			return e;
		}
		throw new AssertionError("no error");
	}

	static void equal(Object seen, Object expected)
	{
		if (!Objects.equals(seen, expected))
			throw new AssertionError(seen + " instead of " + expected);
	}

	static Long id;

	public static void main(String[] a) throws Exception
	{
		db = DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + System.getenv("PGPORT") + "/drivers", "drivers_app", "");

		point("track(String) returns a Long", () -> {
			id = (Long) value("SELECT cdp.track(?, ?)", ADA, "Signed Up");
			value("SELECT cdp.set_consent(?, ?, ?)", ADA, "service", "granted");
		});
		point("who as Long, Integer and array", () -> {
			equal(value("SELECT cdp.track(?, ?)", id, "Seen"), id);
			equal(value("SELECT cdp.track(?, ?)", id.intValue(), "Seen"), id);
			for (String type : new String[] {"text", "varchar"})
				equal(value("SELECT cdp.identify(?)", db.createArrayOf(type, new String[] {ADA, "cookie:j a,b \"c\" {d}"})), id);
			equal(value("SELECT cdp.resolve(?)", "cookie:j a,b \"c\" {d}"), id);
		});
		point("JSON as OTHER and with a cast", () -> {
			try (PreparedStatement s = db.prepareStatement("SELECT cdp.track(?, ?, ?)"))
			{
				s.setString(1, ADA);
				s.setString(2, "JJson");
				s.setObject(3, "{\"a\": 1}", Types.OTHER);
				s.executeQuery();
			}
			equal(value("SELECT cdp.track(?, ?, ?::jsonb)", ADA, "JJson", "{\"a\": 1}"), id);
			equal(value("SELECT count(*) FROM cdp.events WHERE name = 'JJson' AND properties = '{\"a\": 1}'"), 2L);
		});
		point("times as Timestamp and OffsetDateTime, and back", () -> {
			OffsetDateTime at = OffsetDateTime.of(2026, 3, 1, 23, 30, 0, 123000000, ZoneOffset.UTC);
			value("SELECT cdp.track(?, ?, at => ?)", ADA, "JTime", Timestamp.from(at.toInstant()));
			value("SELECT cdp.track(?, ?, at => ?)", ADA, "JTime", at);
			try (ResultSet r = prepare("SELECT ts FROM cdp.events WHERE name = 'JTime'").executeQuery())
			{
				for (int i = 0; i < 2; i++)
				{
					r.next();
					equal(r.getObject(1, OffsetDateTime.class), at);
				}
			}
		});
		point("nulls stand for the defaults", () -> {
			try (PreparedStatement s = db.prepareStatement("SELECT cdp.track(?, ?, ?, ?, ?)"))
			{
				s.setString(1, ADA);
				s.setString(2, "Null");
				s.setNull(3, Types.OTHER);
				s.setNull(4, Types.TIMESTAMP);
				s.setNull(5, Types.VARCHAR);
				s.executeQuery();
			}
			equal(failure("SELECT cdp.track(?, ?)", null, "X").getSQLState(), "22004");
		});
		point("one statement often, also when the server prepares it, and a batch", () -> {
			Set<Long> ids = new HashSet<>();
			try (PreparedStatement s = db.prepareStatement("SELECT cdp.track(?, ?)"))
			{
				for (int i = 0; i < 20; i++)
				{
					s.setString(1, "email:p" + i % 5 + "@jdbc.example");
					s.setString(2, "Often");
					try (ResultSet r = s.executeQuery())
					{
						r.next();
						ids.add(r.getLong(1));
					}
				}
			}
			equal(ids.size(), 5);
		});
		point("CallableStatement", () -> {
			try (CallableStatement s = db.prepareCall("{? = call cdp.track(?, ?)}"))
			{
				s.registerOutParameter(1, Types.BIGINT);
				s.setString(2, ADA);
				s.setString(3, "Called");
				s.execute();
				equal(s.getLong(1), id);
			}
		});
		point("errors carry SQLSTATE and hint", () -> {
			SQLException e = failure("SELECT cdp.track(?, ?)", "no namespace", "X");
			equal(e.getSQLState(), "22P02");
			if (!e.getMessage().contains("namespace:value"))
				throw new AssertionError(e.getMessage());
			equal(failure("SELECT cdp.define_purpose(?)", "mine").getSQLState(), "42501");
			equal(value("SELECT cdp.resolve(?)", ADA), id);
		});
		db.close();
		System.out.println("done");
	}
}
